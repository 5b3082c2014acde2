from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from riptide.server.http_limits import RequestLimits
from riptide.streaming.connection import EXTENSION, ClientConnection
from tests.app.exchange import serve
from tests.waiting import eventually, in_time

if TYPE_CHECKING:
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
