"""What the server knows of a client's connection and ASGI does not tell."""

from __future__ import annotations

import contextlib
import struct
from socket import IPPROTO_TCP
from typing import TYPE_CHECKING, Any

from riptide.streaming.write_gate import WriteGate

if TYPE_CHECKING:
    import asyncio

EXTENSION = "riptide.connection"
"""The key under ``scope["extensions"]`` where our server puts the ``ClientConnection``."""
# Linux, <linux/tcp.h>: tcpi_bytes_acked in struct tcp_info.
TCP_INFO = 11
BYTES_ACKED = struct.Struct("120xQ")


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
        self.writable = WriteGate()

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

    def taken_bytes(self) -> int:
        """Return a number that grows when the client takes something.

        The write buffer may not show it for megabytes: the kernel, and TLS, have their own, and ask
        for more only when they have little left.
        """
        if self.transport is None:
            return 0
        socket = self.transport.get_extra_info("socket")
        # Not every system tells, and nothing is told of a socket that is closed.
        with contextlib.suppress(AttributeError, OSError, ValueError, struct.error):
            acknowledged: int = BYTES_ACKED.unpack(
                socket.getsockopt(IPPROTO_TCP, TCP_INFO, BYTES_ACKED.size)
            )[0]
            return acknowledged
        return -self.transport.get_write_buffer_size()


def connection_of(scope: Any) -> ClientConnection:
    """Return the connection of an ASGI scope, or one that knows nothing under other servers."""
    connection = scope.get("extensions", {}).get(EXTENSION)
    return connection if isinstance(connection, ClientConnection) else ClientConnection(None)
