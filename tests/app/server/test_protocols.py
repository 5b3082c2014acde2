from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from riptide.server.http_limits import RequestLimits
from riptide.streaming.connection import EXTENSION, ClientConnection
from tests.app.exchange import Exchange, serve
from tests.waiting import eventually, in_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6 beside IPv4")
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_a_client_has_its_usual_address_on_a_listener_of_both_families(address: str) -> None:
    clients: list[Any] = []

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        clients.append(scope["client"][0])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async with serve(app, RequestLimits(), host="::") as exchange:
        reader, writer = await asyncio.open_connection(address, exchange.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        await in_time(reader.readuntil(b"\r\n\r\n"))
        writer.close()
    assert clients == [address]


async def test_the_scope_of_each_request_has_the_connection_that_the_protocol_keeps() -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await receive()
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body"})

    async with serve(app, RequestLimits()) as exchange:
        reader, writer = await exchange.open()
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            # Closed with an answer unread, the connection would be reset.
            await in_time(reader.readuntil(b"\r\n\r\n"))
        first, second = (scope["extensions"][EXTENSION] for scope in scopes)
        assert isinstance(first, ClientConnection)
        assert first is second is exchange.protocol.connection
        assert not first.lost
        writer.close()
        await eventually(lambda: first.lost)
        assert first.error is None


class Deciding:
    """An application that takes a request, and answers when the test lets it."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.heard: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive()).get("more_body", False):
            pass
        self.heard.append(message["type"])
        if scope["path"] == "/waits":
            self.heard.append((await receive())["type"])
            return
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"answered"})


@pytest.fixture
async def deciding() -> AsyncIterator[Exchange[Deciding]]:
    async with serve(Deciding(), RequestLimits()) as exchange:
        yield exchange


POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1"


@pytest.mark.parametrize("more", [b"", b"GET / HT", b"\r\n"])
async def test_a_client_that_half_closes_after_its_request_gets_the_answer_and_the_close(
    deciding: Exchange[Deciding], more: bytes
) -> None:
    reader, writer = await deciding.open()
    connection = deciding.protocol.connection
    await deciding.say(writer, POST + more)
    await eventually(lambda: deciding.app.heard)
    writer.write_eof()
    await eventually(lambda: connection.half_closed)
    deciding.app.may_answer.set()
    answer = await in_time(reader.read())
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer
    assert b"answered" in answer
    writer.close()


@pytest.mark.parametrize(
    ("request_bytes", "heard"),
    [
        (POST.replace(b"Length: 1", b"Length: 2"), ["http.disconnect"]),
        (POST.replace(b"/ ", b"/waits "), ["http.request", "http.disconnect"]),
    ],
)
async def test_an_application_that_waits_for_the_client_hears_that_it_has_half_closed(
    deciding: Exchange[Deciding], request_bytes: bytes, heard: list[str]
) -> None:
    deciding.app.may_answer.set()
    reader, writer = await deciding.open()
    await deciding.say(writer, request_bytes)
    writer.write_eof()
    assert await in_time(reader.read()) == b""
    await eventually(lambda: deciding.app.heard == heard)
    writer.close()
