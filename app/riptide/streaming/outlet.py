"""What a session needs of a transport: HTTP bodies and WebSockets look alike behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from riptide.encoding.formats import Encoding
    from riptide.hub.stream_range import StreamRange
    from riptide.streaming.connection import ClientConnection
    from riptide_telemetry import CloseReason


class Outlet(Protocol):
    """One consumer's end of a transport.

    ``direct`` says whether data may go to the connection's socket as the encoding puts it on the
    wire, past ASGI, once the head has been sent: many times faster, and possible under our own
    server only.
    """

    direct: bool
    encoding: Encoding
    connection: ClientConnection

    async def open(self) -> None:
        """Send the head of the response, or accept the handshake."""

    async def write(self, frame: bytes) -> None:
        """Hand a frame to the transport; waits while its buffer is full.

        Raises:
            OSError: the client has gone (some transports only return).

        """

    async def close(self, reason: CloseReason, detail: str) -> None:
        """Say goodbye in the transport's way."""

    async def listen(self, hello: Callable[[StreamRange], None]) -> tuple[CloseReason, str]:
        """Hear the client out; return why it ended, and what to tell it."""
