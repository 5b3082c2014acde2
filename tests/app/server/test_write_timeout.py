from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any, cast

import pytest

from riptide.process.faults import Faults
from riptide.server import write_timeout
from riptide.server.http_limits import RequestLimits
from riptide.server.protocols import StreamingHttpProtocol
from riptide.server.write_timeout import ROUNDS, enforce_write_timeout
from riptide.streaming.connection import ClientConnection
from riptide_telemetry import ServicePart
from tests.app.exchange import Exchange, serve
from tests.waiting import eventually, in_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

    from riptide.streaming.streams import Streams

BODY = b"x" * 16_000_000


async def _large(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001  # as ASGI has it
    headers = [(b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


class Session:
    """As much of an open stream as says which connection it looks after."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection


class Sessions:
    """The open streams."""

    def __init__(self) -> None:
        self.sessions: set[Session] = set()


class Rounds:
    """Time in which the connections are looked at: it passes when the test says so."""

    def __init__(self) -> None:
        self._now_ns = 0
        self._ended = 0
        self._next = asyncio.Event()

    def clock_ns(self) -> int:
        return self._now_ns

    async def sleep(self, seconds: float) -> None:
        self._ended += 1
        await self._next.wait()
        self._next.clear()
        self._now_ns += round(seconds * 1e9)

    async def go_by(self, count: int) -> None:
        """Let so many rounds begin and end; ``ROUNDS`` of them take as long as the timeout."""
        for _ in range(count):
            await eventually(lambda: self._ended)
            self._ended = 0
            self._next.set()
            await eventually(lambda: self._ended)

    async def until_lost(self, connection: ClientConnection) -> None:
        async def go_by() -> None:
            while not connection.lost:
                await self.go_by(1)

        await in_time(go_by())


class Enforced:
    """A server of large answers with its write timeout."""

    def __init__(self, exchange: Exchange[Any], streams: Sessions) -> None:
        self.exchange = exchange
        self.streams = streams
        self.rounds = Rounds()
        self.faults = Faults()

    async def ask(self, *headers: bytes) -> tuple[socket.socket, ClientConnection]:
        """Ask for an answer that does not fit into the kernel's buffers, and do not read it."""
        before = set(self.exchange.state.connections)
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)  # socket's signature
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", self.exchange.port))
        lines = [b"GET / HTTP/1.1", b"Host: x", *headers, b"", b""]
        await loop.sock_sendall(client, b"\r\n".join(lines))
        (protocol,) = await eventually(lambda: self.exchange.state.connections - before)
        assert isinstance(protocol, StreamingHttpProtocol)
        connection = protocol.connection
        await eventually(connection.buffered_bytes)
        return client, connection


@pytest.fixture
async def enforced(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Enforced]:
    monkeypatch.setattr(write_timeout, "SLICE", 1)
    async with serve(_large, RequestLimits()) as exchange:
        enforced = Enforced(exchange, Sessions())
        task = asyncio.create_task(
            enforce_write_timeout(
                lambda: [each.connection for each in exchange.state.connections],  # type: ignore[union-attr]  # all are ours
                cast("Streams", enforced.streams),
                30,
                enforced.faults,
                clock_ns=enforced.rounds.clock_ns,
                sleep=enforced.rounds.sleep,
            )
        )
        yield enforced
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("close", [False, True], ids=["kept-alive", "closing"])
async def test_an_answer_that_nobody_takes_is_dropped_with_its_connection(
    enforced: Enforced, *, close: bool
) -> None:
    client, connection = await enforced.ask(*[b"Connection: close"] * close)
    assert connection.is_gone() is close
    await enforced.rounds.until_lost(connection)
    client.close()


async def test_an_answer_that_is_taken_slowly_is_left_alone(enforced: Enforced) -> None:
    client, connection = await enforced.ask(b"Connection: close")
    buffered = connection.buffered_bytes()
    for _ in range(5):
        taken = connection.taken_bytes()
        while connection.taken_bytes() == taken:
            await asyncio.get_running_loop().sock_recv(client, 4096)
        await enforced.rounds.go_by(ROUNDS - 1)
    # All of this time the kernel had enough, and asked for nothing more.
    assert connection.buffered_bytes() == buffered
    assert not connection.lost
    client.close()


async def test_the_connection_of_an_open_stream_is_left_to_the_stream(enforced: Enforced) -> None:
    client, connection = await enforced.ask()
    session = Session(connection)
    enforced.streams.sessions.add(session)
    await enforced.rounds.go_by(2 * ROUNDS)
    assert not connection.lost
    enforced.streams.sessions.discard(session)
    await enforced.rounds.until_lost(connection)
    client.close()


async def test_a_connection_that_raises_keeps_no_other_from_its_visit(
    enforced: Enforced, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, other = await enforced.ask(), await enforced.ask()

    is_gone = ClientConnection.is_gone

    def is_gone_or_fail(connection: ClientConnection) -> bool:
        if connection is broken[1]:
            raise LookupError("a fault")
        return is_gone(connection)

    monkeypatch.setattr(ClientConnection, "is_gone", is_gone_or_fail)
    await enforced.rounds.until_lost(other[1])
    assert enforced.faults.first is ServicePart.WRITE_TIMEOUT
    for client, _ in (broken, other):
        client.close()
