from __future__ import annotations

import asyncio
import socket

from riptide.streaming.connection import EXTENSION, ClientConnection, connection_of
from tests.app.streaming.pipe import PipeTransport
from tests.waiting import eventually


def test_a_closing_transport_means_that_writing_is_pointless() -> None:
    transport = PipeTransport()
    connection = ClientConnection(transport)
    assert not connection.is_gone()
    transport.closing = True
    assert connection.is_gone()


def test_what_is_buffered_is_known_until_the_connection_is_lost() -> None:
    transport = PipeTransport()
    connection = ClientConnection(transport)
    transport.buffered = 1234
    assert connection.buffered_bytes() == 1234
    connection.lost = True
    assert connection.buffered_bytes() == 0


async def test_what_a_client_takes_is_seen_before_the_write_buffer_shows_it() -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listener.getsockname())
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=listener.accept()[0])
        connection = ClientConnection(transport)
        connection.write(b"x" * 16_000_000)
        await eventually(lambda: connection.taken_bytes() > 0)
        buffered, taken = connection.buffered_bytes(), connection.taken_bytes()
        assert buffered > 0
        for _ in range(20):
            client.recv(4096)
        await eventually(lambda: connection.taken_bytes() > taken)
        assert connection.buffered_bytes() == buffered
        transport.abort()


def test_where_the_system_does_not_tell_the_write_buffer_does() -> None:
    transport = PipeTransport()
    connection = ClientConnection(transport)
    transport.buffered = 1000
    before = connection.taken_bytes()
    transport.buffered = 999
    assert connection.taken_bytes() > before


def test_aborting_drops_the_transport() -> None:
    transport = PipeTransport()
    ClientConnection(transport).abort()
    assert transport.aborted


def test_under_another_server_nothing_is_known_and_nothing_breaks() -> None:
    scopes: list[dict[str, object]] = [
        {},
        {"extensions": {}},
        {"extensions": {EXTENSION: "theirs"}},
    ]
    for scope in scopes:
        connection = connection_of(scope)
        connection.abort()
        assert not connection.is_gone()
        assert connection.buffered_bytes() == connection.taken_bytes() == 0
        assert connection.writable.is_open


def test_our_server_hands_its_connection_over_in_the_scope() -> None:
    connection = ClientConnection(None)
    assert connection_of({"extensions": {EXTENSION: connection}}) is connection
