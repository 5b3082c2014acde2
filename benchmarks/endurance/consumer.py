"""One connection of a consumer, and a consumer that always reconnects."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import socket
import struct
from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson

from benchmarks.endurance import wire
from benchmarks.endurance.place import address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.endurance.account import Account
    from benchmarks.endurance.place import Place

OPEN = (b"HTTP/1.1 200", b"HTTP/1.1 101")
HEAD_END = b"\r\n\r\n"
# The longest wait before a reconnect if the service asks for none.
PAUSE_S = 0.3


class Connection(asyncio.Protocol):
    """A stream on a socket.

    ``open`` is done when the answer's head has come, and says whether there is a stream; ``gone``
    is done when the connection has ended.
    """

    def __init__(
        self, request: bytes, records: wire.Records, take: Callable[[dict[str, Any]], None]
    ) -> None:
        loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[None] = loop.create_future()
        self.open: asyncio.Future[bool] = loop.create_future()
        self.head = b""
        self.transport: asyncio.Transport
        self._request = request
        self._records = records
        self._take = take

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # TCP has no other
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Pass the records on."""
        if not self.head.endswith(HEAD_END):
            head, end, data = (self.head + data).partition(HEAD_END)
            self.head = head + end
            if not end:
                return
            if not self.open.done():
                self.open.set_result(self.head.startswith(OPEN))
        for record in self._records.feed(data):
            self._take(orjson.loads(record))
        if isinstance(self._records, wire.FrameRecords):
            while self._records.pings:
                self.transport.write(wire.client_frame(wire.PONG, self._records.pings.pop()))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # however it went
        """Finish both futures."""
        if not self.open.done():
            self.open.set_result(False)
        if not self.gone.done():
            self.gone.set_result(None)

    def reset(self) -> None:
        """Close the connection by a TCP reset."""
        linger = struct.pack("ii", 1, 0)
        with contextlib.suppress(OSError):
            self.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, linger
            )
        self.transport.abort()


async def connect(
    place: Place,
    asked: wire.Asked,
    take: Callable[[dict[str, Any]], None],
    receive_buffer: int | None = None,
) -> Connection:
    """Ask for a stream. A small ``receive_buffer`` (bytes) fills soon if the client does not read.

    Raises:
        OSError: nobody listens.

    """
    loop = asyncio.get_running_loop()
    bare = socket.socket()
    try:
        bare.setblocking(False)
        if receive_buffer is not None:
            bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await loop.sock_connect(bare, address(place))
    except BaseException:
        bare.close()
        raise
    _, connection = await loop.create_connection(
        lambda: Connection(wire.request(asked), wire.records_of(asked.transport), take), sock=bare
    )
    return connection


class Follower:
    """Reads a topic to the end of the test, through whatever happens to its connection.

    Each connection is to the next of ``places``, which begin anew after the last.
    """

    def __init__(
        self, places: Sequence[Place], transport: str, topic: str, account: Account
    ) -> None:
        self.account = account
        self.connection: Connection | None = None
        # That of the connection, or of the last one.
        self.place = places[-1]
        # The messages that came from each place.
        self.received: Counter[Place] = Counter()
        self.refused = 0
        self._places = itertools.cycle(places)
        self._transport = transport
        self._topic = topic

    async def follow(self) -> None:
        """Connect, and reconnect whenever the connection is lost, until cancelled."""
        try:
            while True:
                await self._follow_once()
                await asyncio.sleep(self._pause_s())
        finally:
            if self.connection is not None:
                self.connection.transport.abort()

    async def _follow_once(self) -> None:
        account = self.account
        account.retry_ms = 0
        self.place = next(self._places)
        before = account.received
        try:
            asked = wire.Asked(self._transport, self._topic, account.position)
            self.connection = await connect(self.place, asked, account.take)
        except OSError:
            return
        try:
            self.refused += not await self.connection.open
            await self.connection.gone
        finally:
            self.received[self.place] += account.received - before
        self.connection = None

    def _pause_s(self) -> float:
        retry_s = self.account.retry_ms / 1000
        return retry_s or random.uniform(0.1, 1) * PAUSE_S  # noqa: S311  # spreads load, guards nothing
