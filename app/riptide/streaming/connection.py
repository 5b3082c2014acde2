"""A client's connection as the server knows it, which ASGI does not pass on."""

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
# Linux: the offset of ``tcpi_bytes_acked`` in ``struct tcp_info`` (<linux/tcp.h>) is 120 bytes.
TCP_INFO = 11
BYTES_ACKED = struct.Struct("120xQ")


class ClientConnection:
    """The socket under a stream.

    ``lost`` is True once the connection is gone; ``error`` then says why (None: it was closed in
    an orderly way). ``half_closed`` is True once the client has said that it sends nothing more.
    ``writable`` is closed while the write buffer is over the high-water mark, so that the next
    write has to wait for the client. ``transport`` is None under another server.
    """

    __slots__ = ("error", "half_closed", "lost", "transport", "writable")

    def __init__(self, transport: asyncio.Transport | None) -> None:
        self.transport = transport
        self.lost = False
        self.half_closed = False
        self.error: Exception | None = None
        self.writable = WriteGate()

    def lose(self, error: Exception | None) -> None:
        """Note that the connection is gone, and why, and end every wait for the client."""
        self.lost = True
        self.error = error
        self.writable.set()

    def close(self) -> None:
        """Close the connection once its write buffer has been sent."""
        if self.transport is not None:
            self.transport.close()

    def is_gone(self) -> bool:
        """Return whether the connection is closing or closed: nothing written now would be sent."""
        return self.transport is not None and self.transport.is_closing()

    def write(self, data: bytes) -> None:
        """Write bytes to the socket. The transport buffers those that it does not take at once."""
        if self.transport is not None:
            self.transport.write(data)

    def abort(self) -> None:
        """Close the connection at once and discard its write buffer."""
        if self.transport is not None:
            self.transport.abort()

    def buffered_bytes(self) -> int:
        """Return the number of bytes in the write buffer."""
        return 0 if self.transport is None or self.lost else self.transport.get_write_buffer_size()

    def taken_bytes(self) -> int:
        """Return a number that grows whenever the client takes something.

        It is the number of bytes that the client has acknowledged, where the system tells it. The
        write buffer may not shrink for megabytes, because the kernel and TLS have buffers of their
        own and ask for more only when these are nearly empty.
        """
        if self.transport is None:
            return 0
        socket = self.transport.get_extra_info("socket")
        # Other systems than Linux lack the option, and a closed socket raises.
        with contextlib.suppress(AttributeError, OSError, ValueError, struct.error):
            acknowledged: int = BYTES_ACKED.unpack(
                socket.getsockopt(IPPROTO_TCP, TCP_INFO, BYTES_ACKED.size)
            )[0]
            return acknowledged
        return -self.transport.get_write_buffer_size()


def connection_of(scope: Any) -> ClientConnection:
    """Return the connection of an ASGI scope, or one without a transport under other servers."""
    connection = scope.get("extensions", {}).get(EXTENSION)
    return connection if isinstance(connection, ClientConnection) else ClientConnection(None)
