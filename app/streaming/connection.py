"""What the server knows of a client's connection and ASGI does not tell."""

from __future__ import annotations

import contextlib
import fcntl
import struct
import termios
from typing import TYPE_CHECKING, Any

from app.streaming.waiting import Gate

if TYPE_CHECKING:
    import asyncio

EXTENSION = "riptide.connection"
"""The key under ``scope["extensions"]`` where our server puts the ``ClientConnection``."""


class ClientConnection:
    """The socket under a stream.

    ``lost`` is set when it is gone for good, ``error`` then says why (None: in an orderly
    way); ``writable`` is closed while its write buffer is over the high-water mark, so that the
    next write has to wait for the client.
    """

    __slots__ = ("error", "lost", "transport", "writable")

    def __init__(self, transport: asyncio.Transport | None) -> None:
        self.transport = transport
        self.lost = False
        self.error: Exception | None = None
        self.writable = Gate()

    def lose(self, error: Exception | None) -> None:
        """Take note that the connection is gone, and why; nobody is left to wait for."""
        self.lost = True
        self.error = error
        self.writable.set()

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

    def untaken_bytes(self) -> int:
        """Return how much the client has not taken yet, of the write buffer and the kernel's.

        The kernel asks for more only when it has sent a good part of what it has: a slow client
        may have taken megabytes before the write buffer shows it.
        """
        buffered = self.buffered_bytes()
        socket: Any = None if self.transport is None else self.transport.get_extra_info("socket")
        # Not every system tells; and the socket may be closed already.
        with contextlib.suppress(OSError, ValueError):
            if buffered and socket is not None:
                queued = fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, bytes(4))
                buffered += struct.unpack("i", queued)[0]
        return buffered


def connection_of(scope: Any) -> ClientConnection:
    """Return the connection of an ASGI scope, or one that knows nothing under other servers."""
    connection = scope.get("extensions", {}).get(EXTENSION)
    return connection if isinstance(connection, ClientConnection) else ClientConnection(None)
