"""The writing half of a stream: hands data to one client, and knows since when a write waits."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from riptide.streaming.outlet import Outlet
    from riptide_telemetry import Lifecycle


class Writer:
    """Writes through the outlet, or past it to the socket.

    On the monotonic clock, ``last_write_ns`` is the moment of the last write. ``blocked_since_ns``
    is the moment since which a write has waited for the client, None if no write waits.
    """

    __slots__ = ("_connection", "_id", "_lifecycle", "_outlet", "blocked_since_ns", "last_write_ns")

    def __init__(self, outlet: Outlet, lifecycle: Lifecycle, connection_id: str) -> None:
        self._connection = outlet.connection
        self._outlet = outlet
        self._lifecycle = lifecycle
        self._id = connection_id
        self.last_write_ns = time.monotonic_ns()
        self.blocked_since_ns: int | None = None

    @property
    def has_room(self) -> bool:
        """Whether a write would not have to wait for the client."""
        return self._connection.writable.is_open

    async def write(self, frame: bytes) -> bool:
        """Hand a frame to the server; return False if the client is known to be gone."""
        # Once the client is gone, some transports raise and others only return.
        with contextlib.suppress(OSError):
            if not self._connection.is_gone():
                await self._until_taken(self._outlet.write(frame))
                if not self._connection.is_gone():
                    self.last_write_ns = time.monotonic_ns()
                    return True
        return False

    async def write_directly(self, data: bytes) -> bool:
        """Hand bytes to the socket; return False if the client is known to be gone."""
        await self.wait_for_room()
        if self._connection.is_gone():
            return False
        self._connection.write(data)
        self.last_write_ns = time.monotonic_ns()
        return True

    async def wait_for_room(self) -> None:
        """Return when a write would not have to wait, or the client is gone."""
        if not self.has_room:
            await self._until_taken(self._connection.writable.wait())

    async def _until_taken(self, write: Awaitable[None]) -> None:
        """Await a write. If it has to wait for the client, note since when, and record how long."""
        if self.has_room:
            await write
            return
        self.blocked_since_ns = started = time.monotonic_ns()
        self._lifecycle.write_stalled(self._id)
        try:
            await write
        finally:
            self.blocked_since_ns = None
            waited = time.monotonic_ns() - started
            self._lifecycle.write_blocked(self._id, waited / 1_000_000_000)
