"""Two listeners on one socket in one process: event loops of workers could not be held so well."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import TYPE_CHECKING, Any, cast

import pytest

from riptide.server.listener import listen
from riptide.server.shared_listener import BATCH, CountedConnections, SharedListener
from riptide.server.turns import AHEAD, LAST, Turns
from tests.waiting import eventually
from tests.waiting import turns as event_loop_turns

if TYPE_CHECKING:
    from collections.abc import Iterator


class Protocol(asyncio.Protocol):
    """Counts its connection, as uvicorn's protocols do."""

    def __init__(self, connections: set[Any]) -> None:
        self._connections = connections
        self.transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self._connections.discard(self)


class Worker:
    """A listener, what it shows, and a switch that makes it the last choice."""

    def __init__(self, slot: int, socket_: socket.socket, numbers: memoryview) -> None:
        self.is_last = False
        self._slot, self._shown = slot, numbers[:2]
        self.listener = SharedListener(
            socket_, Turns(slot, numbers[:2], numbers[2:]), is_last=lambda: self.is_last
        )

    def start(self) -> None:
        connections = self.listener.connections
        self.listener.start(lambda: Protocol(connections), None)

    @property
    def shown(self) -> int:
        return int(self._shown[self._slot])

    def close(self) -> None:
        self.listener.close()
        for protocol in list(self.listener.connections):
            protocol.transport.abort()


class Pair:
    """Two workers, and clients."""

    def __init__(self) -> None:
        self.socket = listen("127.0.0.1", 0)
        self.socket.setblocking(False)
        numbers = memoryview(bytearray(32)).cast("Q")
        self.second_socket = self.socket.dup()
        self.one = Worker(0, self.socket, numbers)
        self.two = Worker(1, self.second_socket, numbers)
        self.clients: list[socket.socket] = []

    def connect(self, count: int) -> list[socket.socket]:
        clients = [socket.create_connection(self.socket.getsockname()) for _ in range(count)]
        self.clients += clients
        return clients

    def counts(self) -> list[int]:
        return [len(worker.listener.connections) for worker in (self.one, self.two)]

    async def wait_for(self, count: int) -> None:
        await eventually(lambda: sum(self.counts()) == count, self.counts)
        await event_loop_turns()


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    with pair.socket, pair.second_socket:
        yield pair
    for client in pair.clients:
        client.close()


@contextlib.contextmanager
def _started(*workers: Worker) -> Iterator[None]:
    for worker in workers:
        worker.start()
    yield
    for worker in workers:
        worker.close()


async def test_connections_that_come_at_once_are_spread(pair: Pair) -> None:
    pair.connect(200)
    with _started(pair.one, pair.two):
        await pair.wait_for(200)
        assert abs(pair.counts()[0] - pair.counts()[1]) <= 2 * (AHEAD + BATCH)
        assert [pair.one.shown - 1, pair.two.shown - 1] == pair.counts()


async def test_who_starts_later_gets_the_connections_until_both_have_as_many(pair: Pair) -> None:
    with _started(pair.one):
        pair.connect(100)
        await pair.wait_for(100)
        with _started(pair.two):
            for number in range(80):
                pair.connect(1)
                await pair.wait_for(101 + number)
            assert pair.counts()[1] > 80 - AHEAD


async def test_a_worker_that_never_accepts_holds_up_nobody(pair: Pair) -> None:
    with _started(pair.one):
        # It listens, as far as the others know, and its event loop hangs.
        pair.two.start()
        asyncio.get_running_loop().remove_reader(pair.second_socket.fileno())
        pair.connect(100)
        await pair.wait_for(100)
        assert pair.counts() == [100, 0]
        pair.two.close()


async def test_connections_that_are_lost_make_room_at_once(pair: Pair) -> None:
    with _started(pair.one):
        clients = pair.connect(20)
        await pair.wait_for(20)
        assert pair.one.shown == 21
        for client in clients[:15]:
            client.close()
        await eventually(lambda: pair.one.shown == 6)


async def test_who_is_the_last_choice_shows_it_and_who_has_closed_is_none(pair: Pair) -> None:
    assert pair.one.shown == 0
    with _started(pair.one):
        pair.one.is_last = True
        (client,) = pair.connect(1)
        await pair.wait_for(1)
        assert pair.one.shown == LAST
    assert pair.one.shown == 0
    client.close()
    await eventually(lambda: pair.counts() == [0, 0])
    assert pair.one.shown == 0


async def test_an_error_of_the_system_is_logged_once_and_tried_again(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [OSError(errno.EMFILE, "Too many open files")] * 3

    class Scarce:
        """The listener of a process that has no descriptor left for now."""

        def __getattr__(self, name: str) -> Any:
            return getattr(pair.socket, name)

        def accept(self) -> tuple[socket.socket, Any]:
            if failures:
                raise failures.pop()
            return pair.socket.accept()

    numbers = memoryview(bytearray(32)).cast("Q")
    worker = Worker(0, cast("socket.socket", Scarce()), numbers)
    with _started(worker):
        pair.connect(1)
        await eventually(lambda: len(worker.listener.connections) == 1)
    assert not failures
    (record,) = [each for each in caplog.records if each.name == "riptide.server"]
    assert "Too many open files" in record.getMessage()


def test_every_change_of_the_number_is_told() -> None:
    told: list[int] = []
    connections = CountedConnections(lambda: told.append(len(connections)))
    first = object()
    connections.add(first)
    connections.add(first)
    connections.discard(first)
    connections.discard(first)
    assert told == [1, 1, 0, 0]
