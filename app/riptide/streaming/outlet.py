"""The interface of a transport to a session, the same for HTTP bodies and WebSockets."""

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

    ``direct`` says whether batches may be written to the connection's socket as wire bytes, past
    ASGI, once the head has been sent. This is many times faster, and possible under our own server
    only.
    """

    direct: bool
    encoding: Encoding
    connection: ClientConnection

    async def open(self) -> None:
        """Send the head of the response, or accept the handshake."""

    async def write(self, frame: bytes) -> None:
        """Hand a frame to the transport; wait while its buffer is full.

        Raises:
            OSError: the client has gone. Some transports return instead.

        """

    async def close(self, reason: CloseReason, detail: str) -> None:
        """End the stream in the transport's way: the end of the body, or a close frame."""

    async def listen(self, hello: Callable[[StreamRange], None]) -> tuple[CloseReason, str]:
        """Pass hellos on until the connection is to end; return why, and a text for the client."""
