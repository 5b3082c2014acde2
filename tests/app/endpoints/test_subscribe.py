from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest
from starlette.datastructures import Headers

from riptide.access.identity import ANYONE
from riptide.encoding import ndjson, sse
from riptide.endpoints.subscribe import negotiate, stream_request_of
from riptide.errors import NotAcceptableError
from tests.app.endpoints.answers import ask, publish
from tests.asgi import AsgiExchange, http_scope
from tests.waiting import in_time

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from riptide.service import Service


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, ndjson.MEDIA_TYPE),
        ("", ndjson.MEDIA_TYPE),
        ("*/*", ndjson.MEDIA_TYPE),
        ("application/*", ndjson.MEDIA_TYPE),
        ("application/x-ndjson", ndjson.MEDIA_TYPE),
        ("text/event-stream", sse.MEDIA_TYPE),
        ("text/*", sse.MEDIA_TYPE),
        ("Text/Event-Stream", sse.MEDIA_TYPE),
        ("text/event-stream; charset=utf-8", sse.MEDIA_TYPE),
        ("text/event-stream, */*;q=0.5", sse.MEDIA_TYPE),
        ("application/x-ndjson;q=0.5, text/event-stream", sse.MEDIA_TYPE),
        ("application/x-ndjson;q=0, */*", sse.MEDIA_TYPE),
        ("text/event-stream;q=0, */*", ndjson.MEDIA_TYPE),
        ("text/html, application/xhtml+xml, */*;q=0.8", ndjson.MEDIA_TYPE),
    ],
)
def test_the_client_chooses_the_format_and_ndjson_is_what_it_gets_without_a_wish(
    accept: str | None, media_type: str
) -> None:
    assert negotiate(accept).media_type == media_type


@pytest.mark.parametrize(
    "accept",
    ["text/html", "application/json", "text/event-stream;q=0", "nonsense", ";;", "x" * 9999],
)
def test_who_accepts_neither_format_is_told_which_there_are(accept: str) -> None:
    with pytest.raises(NotAcceptableError) as caught:
        negotiate(accept)
    assert ndjson.MEDIA_TYPE in caught.value.detail
    assert sse.MEDIA_TYPE in caught.value.detail
    assert len(caught.value.detail) < 300


@pytest.mark.parametrize(
    ("headers", "query", "expected"),
    [
        ({}, "", (None, None)),
        ({}, "after=earliest&until=latest", ("earliest", "latest")),
        ({"Last-Event-ID": "0a1b2c3d-7"}, "after=earliest", ("0a1b2c3d-7", None)),
        ({"Last-Event-ID": ""}, "after=earliest", ("earliest", None)),
    ],
)
def test_the_last_event_id_goes_before_the_query(
    headers: dict[str, str], query: str, expected: tuple[str | None, str | None]
) -> None:
    scope = {
        "type": "http",
        "headers": Headers(headers).raw,
        "query_string": query.encode(),
    }
    request = stream_request_of(scope, "a", ANYONE)
    assert (request.after, request.until) == expected


async def test_a_finite_replay_is_one_whole_body(app: Starlette) -> None:
    await publish(app, "a", b"1", b"2")
    answer = await ask(app, "GET", "/topics/a", query="until=latest")
    assert answer.status == 200
    assert answer.headers["content-type"] == ndjson.MEDIA_TYPE
    records = [orjson.loads(line) for line in answer.body.splitlines()]
    assert [r["data"] for r in records if "data" in r] == [1, 2]
    assert records[-1]["reason"] == "completed"


async def test_a_live_stream_begins_at_once_and_ends_when_the_client_goes(
    app: Starlette, service: Service
) -> None:
    headers = [("Accept", "text/event-stream")]
    exchange = AsgiExchange(app, http_scope("GET", "/topics/a", headers=headers))
    assert (await exchange.next())["status"] == 200
    assert (await exchange.next())["body"].startswith(b"event: opened\n")
    (first, _) = await publish(app, "a", b'"hello"')
    assert (await exchange.next())["body"].startswith(f"id: {first}\n".encode())
    await exchange.send({"type": "http.disconnect"})
    await in_time(exchange.task)
    assert service.streams.sessions == set()


async def test_an_event_source_that_comes_back_resumes_after_its_last_event(
    app: Starlette,
) -> None:
    first, _ = await publish(app, "a", b"1", b"2")
    answer = await ask(
        app,
        "GET",
        "/topics/a",
        query="after=latest&until=latest",
        headers=[("Accept", "text/event-stream"), ("Last-Event-ID", first)],
    )
    assert answer.body.startswith(b"event: resumed\n")
    assert b'"data":2}' in answer.body
    assert b'"data":1}' not in answer.body


@pytest.mark.parametrize(
    ("path", "query", "accept", "status", "problem"),
    [
        ("/topics/a", "", "text/html", 406, "not-acceptable"),
        ("/topics/a", "after=yesterday", "*/*", 400, "invalid-position"),
        ("/topics/a", "until=tomorrow", "*/*", 400, "invalid-position"),
        ("/topics/a/b", "", "*/*", 400, "invalid-topic"),
    ],
)
async def test_a_bad_request_is_answered_with_what_is_wrong(
    app: Starlette, path: str, query: str, accept: str, status: int, problem: str
) -> None:
    answer = await ask(app, "GET", path, query=query, headers=[("Accept", accept)])
    assert (answer.status, answer.problem) == (status, problem)


async def test_a_websocket_handshake_that_has_lost_its_upgrade_is_told_what_is_missing(
    app: Starlette,
) -> None:
    # As nginx passes it on that knows nothing of WebSockets.
    headers = [
        ("Connection", "close"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Accept", "text/html"),
    ]
    answer = await ask(app, "GET", "/topics/a", headers=headers)
    assert (answer.status, answer.problem) == (426, "upgrade-required")
    assert answer.headers["upgrade"] == "websocket"
    assert answer.headers["connection"] == "Upgrade"
    assert "proxy" in answer.json["detail"]
    metrics = await ask(app, "GET", "/metrics")
    counted = (
        b"riptide_streaming_connections_rejected_total"
        b'{protocol="websocket",reason="invalid_request"} 1.0'
    )
    assert counted in metrics.body


async def test_streams_over_the_limit_and_while_draining_are_told_when_to_come_back(
    app: Starlette,
    service: Service,
) -> None:
    exchanges = [AsgiExchange(app, http_scope("GET", "/topics/a")) for _ in range(3)]
    for exchange in exchanges:
        await exchange.next()
    answer = await ask(app, "GET", "/topics/a")
    assert (answer.status, answer.problem) == (503, "connection-limit")
    assert int(answer.headers["retry-after"]) > 0
    for exchange in exchanges:
        await exchange.send({"type": "http.disconnect"})
        await in_time(exchange.task)
    service.streams.draining = True
    answer = await ask(app, "GET", "/topics/a")
    assert (answer.status, answer.problem) == (503, "draining")
    assert int(answer.headers["retry-after"]) > 0


async def test_a_head_request_gets_the_head_of_a_stream_and_takes_no_place(
    app: Starlette,
    service: Service,
) -> None:
    answer = await ask(app, "HEAD", "/topics/a", headers=[("Accept", "text/event-stream")])
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"] == sse.MEDIA_TYPE
    assert "no-store" in answer.headers["cache-control"]
    assert service.streams.sessions == set()
    assert (await ask(app, "HEAD", "/topics/a/b")).status == 400


@pytest.mark.parametrize(
    ("headers", "path", "query", "status", "protocol", "reason"),
    [
        ({"Accept": "image/png"}, "/topics/a", "", 406, "ndjson", "invalid_request"),
        ({"Accept": "x" * 5000}, "/topics/a", "", 406, "ndjson", "invalid_request"),
        ({"Sec-WebSocket-Key": "x"}, "/topics/a", "", 426, "websocket", "invalid_request"),
        ({"Accept": sse.MEDIA_TYPE}, "/topics/-", "", 400, "sse", "invalid_request"),
        ({}, "/topics/a", "after=x", 400, "ndjson", "invalid_request"),
        ({}, "/topics/a", "until=x", 400, "ndjson", "invalid_request"),
        ({"Host": "evil.example"}, "/topics/a", "", 421, "ndjson", "origin"),
    ],
)
async def test_each_refusal_of_a_stream_is_counted_once(
    app: Starlette,
    service: Service,
    headers: dict[str, str],
    path: str,
    query: str,
    status: int,
    protocol: str,
    reason: str,
) -> None:
    answer = await ask(app, "GET", path, query=query, headers=list(headers.items()))
    assert answer.status == status
    assert _rejected(service) == {(protocol, reason): 1}


async def test_each_refusal_of_a_head_request_is_counted_as_that_of_a_stream(
    app: Starlette, service: Service
) -> None:
    assert (await ask(app, "HEAD", "/topics/-")).status == 400
    assert (await ask(app, "HEAD", "/topics/a", headers=[("Accept", "image/png")])).status == 406
    assert _rejected(service) == {("ndjson", "invalid_request"): 2}


def _rejected(service: Service) -> dict[tuple[str, str], int]:
    return {
        (str(protocol), str(reason)): count
        for protocol, metrics in service.telemetry.metrics.by_protocol.items()
        for reason, count in metrics.rejected.items()
        if count
    }
