from __future__ import annotations

import asyncio
import socket

from app.streaming.connection import EXTENSION, ClientConnection, connection_of
from tests.app.streaming.pipe import PipeTransport


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


async def test_what_the_kernel_has_sent_is_not_taken_before_the_client_has_it() -> None:
    ours, client = socket.socketpair()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    connection = ClientConnection(transport)
    assert connection.untaken_bytes() == 0
    connection.write(b"x" * 8_000_000)
    buffered, untaken = connection.buffered_bytes(), connection.untaken_bytes()
    assert 0 < buffered < untaken
    client.recv(100_000)
    assert connection.buffered_bytes() == buffered
    assert connection.untaken_bytes() < untaken
    transport.abort()
    client.close()


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
        assert connection.buffered_bytes() == connection.untaken_bytes() == 0
        assert connection.writable.is_open


def test_our_server_hands_its_connection_over_in_the_scope() -> None:
    connection = ClientConnection(None)
    assert connection_of({"extensions": {EXTENSION: connection}}) is connection
