from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from riptide.errors import LogUnavailableError
from tests.app.endpoints.answers import ask
from tests.asgi import AsgiExchange, http_scope
from tests.waiting import in_time

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from riptide.service import Service

JSON = [("Content-Type", "application/json")]
BATCH = [("Content-Type", "application/x-ndjson")]


async def _kept(service: Service, topic: str = "a") -> list[bytes]:
    return [message.payload for message in await service.log.read(topic, 0)]


async def test_a_message_is_accepted_with_its_id(app: Starlette, service: Service) -> None:
    answer = await ask(app, "POST", "/topics/a", headers=JSON, body=b'{"x": 1}')
    (message,) = await service.log.read("a", 0)
    first = f"{message.epoch}-1"
    assert (answer.status, answer.json) == (
        202,
        {"topic": "a", "count": 1, "ids": {"first": first, "last": first}},
    )
    assert await _kept(service) == [b'{"x": 1}']


async def test_a_batch_is_accepted_with_its_first_and_last_id(
    app: Starlette, service: Service
) -> None:
    await ask(app, "POST", "/topics/a", headers=JSON, body=b"0")
    answer = await ask(app, "POST", "/topics/a", headers=BATCH, body=b"1\n2\n3\n")
    epoch = (await service.log.read("a", 0))[0].epoch
    assert answer.json == {
        "topic": "a",
        "count": 3,
        "ids": {"first": f"{epoch}-2", "last": f"{epoch}-4"},
    }


async def test_a_bad_line_in_a_batch_is_named_and_nothing_is_published(
    app: Starlette, service: Service
) -> None:
    answer = await ask(app, "POST", "/topics/a", headers=BATCH, body=b"1\n{oops\n3")
    assert (answer.status, answer.problem) == (400, "invalid-message")
    assert answer.json["line"] == 2
    assert await _kept(service) == []


@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "problem"),
    [
        ("/topics/a", [], b"1", 415, "unsupported-media-type"),
        ("/topics/a", [("Content-Type", "text/plain")], b"1", 415, "unsupported-media-type"),
        ("/topics/a", JSON, b"", 400, "invalid-message"),
        ("/topics/a", BATCH, b"\n", 400, "invalid-message"),
        ("/topics/a", JSON, b'"' + b"x" * 100 + b'"', 413, "too-large"),
        ("/topics/a/b", JSON, b"1", 400, "invalid-topic"),
        ("/topics/", JSON, b"1", 404, "not-found"),
        ("/topics/é", JSON, b"1", 400, "invalid-topic"),
    ],
)
async def test_what_cannot_be_published_is_told_why(
    app: Starlette,
    path: str,
    headers: list[tuple[str, str]],
    body: bytes,
    status: int,
    problem: str,
) -> None:
    answer = await ask(app, "POST", path, headers=headers, body=body)
    assert (answer.status, answer.problem) == (status, problem)


async def test_a_body_that_grows_too_large_is_refused_before_its_end(
    app: Starlette, service: Service
) -> None:
    exchange = AsgiExchange(app, http_scope("POST", "/topics/a", headers=BATCH))
    for _ in range(3):
        await exchange.send({"type": "http.request", "body": b"1\n" * 200, "more_body": True})
    assert (await exchange.next())["status"] == 413
    await exchange.send({"type": "http.disconnect"})
    await in_time(exchange.task)
    assert await _kept(service) == []


async def test_nothing_of_a_body_that_breaks_off_is_published(
    app: Starlette, service: Service
) -> None:
    exchange = AsgiExchange(app, http_scope("POST", "/topics/a", headers=BATCH))
    await exchange.send({"type": "http.request", "body": b"1\n2\n", "more_body": True})
    await exchange.send({"type": "http.disconnect"})
    await in_time(exchange.task)
    assert await _kept(service) == []


async def test_a_log_that_takes_nothing_is_said_with_when_to_try_again(
    app: Starlette, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> asyncio.Future[int]:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        future.set_exception(LogUnavailableError("the disk is full", retry_after=5))
        return future

    monkeypatch.setattr(service.log, "append", refuse)
    answer = await ask(app, "POST", "/topics/a", headers=JSON, body=b"1")
    assert (answer.status, answer.problem) == (503, "log-unavailable")
    assert answer.headers["retry-after"] == "5"


async def test_publishers_are_served_while_streams_drain(app: Starlette, service: Service) -> None:
    service.streams.draining = True
    assert (await ask(app, "POST", "/topics/a", headers=JSON, body=b"1")).status == 202


async def test_the_publishers_trace_goes_with_the_message(app: Starlette, service: Service) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for given in (traceparent, "nonsense"):
        headers = [*JSON, ("traceparent", given)]
        assert (await ask(app, "POST", "/topics/a", headers=headers, body=b"1")).status == 202
    kept = [message.traceparent for message in await service.log.read("a", 0)]
    assert kept == [traceparent, ""]


@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "counted"),
    [
        ("/topics/-", JSON, b"1", 400, {"invalid": 1}),
        ("/topics/a", [("Content-Type", "text/plain")], b"1", 415, {"invalid": 1}),
        ("/topics/a", [], b"1", 415, {"invalid": 1}),
        ("/topics/a", [*JSON, ("Content-Encoding", "gzip")], b"1", 415, {"invalid": 1}),
        ("/topics/a", JSON, b"{", 400, {"invalid": 1}),
        ("/topics/a", BATCH, b"1\n{", 400, {"invalid": 2}),
        ("/topics/a", BATCH, b"\n", 400, {}),
        ("/topics/a", BATCH, b"1\n" * 600, 413, {"too_large": 1}),
        ("/topics/a", [*JSON, ("Host", "evil.example")], b"1", 421, {"forbidden": 1}),
    ],
)
async def test_each_refused_publish_counts_the_messages_that_it_is_known_to_offer(
    app: Starlette,
    service: Service,
    path: str,
    headers: list[tuple[str, str]],
    body: bytes,
    status: int,
    counted: dict[str, int],
) -> None:
    answer = await ask(app, "POST", path, headers=headers, body=body)
    assert answer.status == status
    published = service.telemetry.metrics.published
    assert {str(outcome): count for outcome, count in published.items() if count} == counted
