from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from tests.app.endpoints.answers import publish, read_answer
from tests.asgi import AsgiExchange, websocket_scope
from tests.waiting import in_time

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from riptide.service import Service


async def _connect(app: Starlette, path: str = "/topics/a", query: str = "") -> AsgiExchange:
    exchange = AsgiExchange(app, websocket_scope(path, query=query))
    await exchange.send({"type": "websocket.connect"})
    return exchange


async def _record(exchange: AsgiExchange) -> Any:
    message = await exchange.next()
    assert message["type"] == "websocket.send", message
    return orjson.loads(message["text"])


async def test_a_client_is_accepted_and_gets_a_frame_a_record(
    app: Starlette, service: Service
) -> None:
    exchange = await _connect(app)
    assert (await exchange.next())["type"] == "websocket.accept"
    assert (await _record(exchange))["event"] == "opened"
    await publish(app, "a", b"1", b"2")
    assert [(await _record(exchange))["data"] for _ in range(2)] == [1, 2]
    await exchange.send({"type": "websocket.disconnect", "code": 1000})
    await in_time(exchange.task)
    assert service.streams.sessions == set()


async def test_a_hello_begins_another_stream_on_the_connection(app: Starlette) -> None:
    await publish(app, "a", b"1")
    exchange = await _connect(app)
    await exchange.next()
    await _record(exchange)
    hello = '{"after": "earliest", "until": "latest"}'
    await exchange.send({"type": "websocket.receive", "text": hello})
    records = [await _record(exchange) for _ in range(4)]
    assert [r.get("event", r.get("data")) for r in records] == ["opened", 1, "progress", "end"]
    close = await exchange.next()
    assert (close["type"], close["code"]) == ("websocket.close", 1000)


async def test_the_query_says_where_to_begin_as_it_does_over_http(app: Starlette) -> None:
    first, _ = await publish(app, "a", b"1", b"2")
    exchange = await _connect(app, query=f"after={first}")
    await exchange.next()
    assert (await _record(exchange))["event"] == "resumed"
    assert (await _record(exchange))["data"] == 2
    await exchange.send({"type": "websocket.disconnect", "code": 1000})
    await in_time(exchange.task)


async def test_a_client_that_speaks_nonsense_is_told_so_and_closed(app: Starlette) -> None:
    exchange = await _connect(app)
    await exchange.next()
    await _record(exchange)
    await exchange.send({"type": "websocket.receive", "bytes": b"\x00"})
    assert (await _record(exchange))["reason"] == "unsupported_frame"
    assert (await exchange.next())["code"] == 1003
    await in_time(exchange.task)


@pytest.mark.parametrize(
    ("path", "query", "status", "problem"),
    [
        ("/topics/a/b", "", 400, "invalid-topic"),
        ("/topics/a", "after=yesterday", 400, "invalid-position"),
    ],
)
async def test_a_handshake_is_refused_with_problem_details(
    app: Starlette, path: str, query: str, status: int, problem: str
) -> None:
    answer = await read_answer(await _connect(app, path, query))
    assert (answer.status, answer.problem) == (status, problem)


async def test_a_draining_server_refuses_the_handshake(app: Starlette, service: Service) -> None:
    service.streams.draining = True
    answer = await read_answer(await _connect(app))
    assert (answer.status, answer.problem) == (503, "draining")
    assert "retry-after" in answer.headers
