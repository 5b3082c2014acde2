from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from riptide.server.http_limits import RequestLimits
from tests.app.exchange import serve
from tests.waiting import eventually, in_time, turns

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

BODY = b"x" * 1_000_000


async def _in_pieces(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with a body in two pieces, and its length if that is asked for."""
    assert (await receive())["type"] == "http.request"
    sized = scope["path"] == "/sized"
    headers = [(b"Content-Length", b"%d" % len(BODY))] if sized else []
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY[:500_000], "more_body": True})
    await send({"type": "http.response.body", "body": BODY[500_000:]})


@pytest.mark.parametrize("path", [b"/", b"/sized"])
async def test_a_body_is_not_in_chunks_and_ends_with_the_connection(path: bytes) -> None:
    async with serve(_in_pieces, RequestLimits()) as exchange:
        answer = await exchange.answer(b"GET " + path + b" HTTP/1.0\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert b"connection: close" in head
    assert b"transfer-encoding" not in head
    assert (b"content-length" in head) is (path == b"/sized")
    assert body == BODY


async def test_headers_that_can_be_read_only_once_reach_the_client() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = iter([(b"x-mine", b"kept")])
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x"})

    async with serve(app, RequestLimits()) as exchange:
        answer = await exchange.answer(b"GET / HTTP/1.0\r\n\r\n")
    assert b"\r\nx-mine: kept\r\n" in answer


async def test_http_1_1_gets_chunks() -> None:
    async with serve(_in_pieces, RequestLimits()) as exchange:
        answer = await exchange.answer(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"transfer-encoding: chunked" in answer
    assert answer.endswith(b"\r\n0\r\n\r\n")


async def test_a_head_alone_has_no_body() -> None:
    async with serve(_in_pieces, RequestLimits()) as exchange:
        answer = await exchange.answer(b"HEAD / HTTP/1.0\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n")
    assert b"x" not in answer.partition(b"\r\n\r\n")[2]


async def test_a_client_that_does_not_read_holds_the_application_up() -> None:
    written = 0

    async def large(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001  # as ASGI has it
        nonlocal written
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(100):
            await send({"type": "http.response.body", "body": BODY, "more_body": True})
            written += 1

    async with serve(large, RequestLimits()) as exchange:
        reader, writer = await exchange.open()
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        await in_time(reader.readuntil(b"\r\n\r\n"))
        await eventually(lambda: not exchange.protocol.connection.writable.is_open)
        await turns()
        assert written < 50
        exchange.protocol.transport.abort()
        writer.close()
