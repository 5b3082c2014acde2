"""What a session needs of a transport: HTTP bodies and WebSockets look alike behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.encoding.formats import Encoding, Frame
    from app.streaming.connection import ClientConnection
    from app.streaming.stream_request import StreamRequest
    from telemetry import CloseReason
    from telemetry import Protocol as ProtocolName


class Outlet(Protocol):
    """One consumer's end of a transport."""

    protocol: ProtocolName
    encoding: Encoding
    connection: ClientConnection

    async def open(self) -> None:
        """Send the head of the response, or accept the handshake."""

    async def write(self, frame: Frame) -> None:
        """Hand a frame to the transport; waits while its buffer is full.

        Raises:
            OSError: the client has gone (some transports only return).

        """

    async def close(self, reason: CloseReason, detail: str) -> None:
        """Say goodbye in the transport's way."""

    async def listen(self, hello: Callable[[StreamRequest], None]) -> tuple[CloseReason, str]:
        """Hear the client out; return why it ended, and what to tell it."""
