"""What the server knows of a client's connection and ASGI does not tell."""

from __future__ import annotations

import asyncio
from typing import Any

EXTENSION = "riptide.connection"
"""The key under ``scope["extensions"]`` where our server puts the ``ClientConnection``."""


class ClientConnection:
    """The socket under a stream.

    ``lost`` is set when it is gone for good, ``error`` then says why (None: in an orderly
    way); ``paused`` while its write buffer is over the high-water mark, so that the next
    write has to wait for the client.
    """

    __slots__ = ("_drained", "error", "lost", "paused", "transport")

    def __init__(self, transport: asyncio.Transport | None) -> None:
        self.transport = transport
        self.lost = False
        self.error: Exception | None = None
        self.paused = False
        self._drained: asyncio.Future[None] | None = None

    def pause(self) -> None:
        """Take note that the write buffer is full."""
        self.paused = True

    def resume(self) -> None:
        """Take note that there is room in it again."""
        self.paused = False
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None

    def lose(self, error: Exception | None) -> None:
        """Take note that the connection is gone, and why."""
        self.lost = True
        self.error = error
        self.resume()

    async def drained(self) -> None:
        """Return once there is room in the write buffer, or nobody to make any."""
        if self.paused:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            # Shielded: it is there for all who wait.
            await asyncio.shield(self._drained)

    def is_gone(self) -> bool:
        """Return whether writing is pointless: nothing written now would be sent."""
        return self.transport is not None and self.transport.is_closing()

    def write(self, data: bytes) -> None:
        """Hand bytes to the socket; buffers what it does not take at once."""
        if self.transport is not None:
            self.transport.write(data)

    def abort(self) -> None:
        """Drop the connection and what is buffered for it."""
        if self.transport is not None:
            self.transport.abort()

    def buffered_bytes(self) -> int:
        """Return how much waits in the write buffer."""
        return 0 if self.transport is None or self.lost else self.transport.get_write_buffer_size()


def connection_of(scope: Any) -> ClientConnection:
    """Return the connection of an ASGI scope, or one that knows nothing under other servers."""
    connection = scope.get("extensions", {}).get(EXTENSION)
    return connection if isinstance(connection, ClientConnection) else ClientConnection(None)
