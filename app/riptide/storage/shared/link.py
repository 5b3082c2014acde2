"""One end of the connection between a worker and the log's process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from riptide.storage.shared.frames import PacketReader, packet

if TYPE_CHECKING:
    from collections.abc import Callable

    from riptide.storage.shared.frames import OfLog, OfWorker

# Whoever has so much to read yet is cut off.
LIMIT_BYTES = 64 * 1024 * 1024


class Link(asyncio.Protocol):
    """Sends frames together that are sent in one turn of the event loop.

    ``receive`` is called with the body of each packet, and ``lost`` once the connection has ended.
    """

    def __init__(
        self, receive: Callable[[memoryview], None], lost: Callable[[], None] = lambda: None
    ) -> None:
        self._receive = receive
        self._lost = lost
        self.loop = asyncio.get_running_loop()
        self._reader = PacketReader()
        self._transport: asyncio.Transport | None = None
        self._has_ended = False
        # Packets, and the frames of the next one.
        self._outgoing: list[bytes] = []
        self._frames: list[OfWorker | OfLog] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send what was to be sent before."""
        # uvloop's is none of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Pass packets on."""
        for body in self._reader.feed(data):
            self._receive(body)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Tell the owner."""
        self._has_ended = True
        self._transport = None
        self._outgoing.clear()
        self._frames.clear()
        self._lost()

    def send(self, frame: OfWorker | OfLog) -> None:
        """Send a frame soon."""
        if self._has_ended:
            return
        if not self._frames and not self._outgoing:
            self.loop.call_soon(self.flush)
        self._frames.append(frame)

    def send_packet(self, ready: bytes) -> None:
        """Send a packet soon, after the frames that are to be sent."""
        if self._has_ended:
            return
        if self._frames:
            self._pack()
        elif not self._outgoing:
            self.loop.call_soon(self.flush)
        self._outgoing.append(ready)

    def waiting_bytes(self) -> int:
        """Return how much the other end has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def close(self) -> None:
        """End the connection, once what was sent is on its way."""
        self.flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def flush(self) -> None:
        """Send what is to be sent soon at once."""
        if self._transport is None:
            return
        if self._frames:
            self._pack()
        outgoing, self._outgoing = self._outgoing, []
        if outgoing and not self._transport.is_closing():
            self._transport.write(b"".join(outgoing))
            if self.waiting_bytes() > LIMIT_BYTES:
                self._transport.abort()

    def _pack(self) -> None:
        self._outgoing.append(packet(self._frames))
        self._frames.clear()
