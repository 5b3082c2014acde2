"""The protocol classes that uvicorn runs: with limits, and a ``ClientConnection`` for streams."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from riptide.server.http_limits import LimitedHttpProtocol
from riptide.server.mailbox import Mailbox
from riptide.server.websocket_limits import LimitedWebSocketProtocol
from riptide.streaming.connection import EXTENSION, ClientConnection

# An address of IPv4 as one of IPv6 (RFC 4291, section 2.5.5.2).
_MAPPED = re.compile(r"::ffff:([0-9.]+)")


class _UpdatesConnection(asyncio.Protocol):
    """Keeps a ``ClientConnection`` up to date with what the transport reports."""

    connection: ClientConnection
    client: tuple[str, int] | None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.connection = ClientConnection(transport)  # type: ignore[arg-type]  # uvicorn serves stream transports only
        super().connection_made(transport)
        if self.client is not None and (mapped := _MAPPED.fullmatch(self.client[0])):
            # A listener of both families sees IPv4 in this form. Settings and limits know the
            # usual one (the trusted proxies, above all).
            self.client = mapped[1], self.client[1]

    def connection_lost(self, exc: Exception | None) -> None:
        self.connection.lose(exc)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        self.connection.writable.clear()
        super().pause_writing()

    def resume_writing(self) -> None:
        self.connection.writable.set()
        super().resume_writing()


class StreamingHttpProtocol(_UpdatesConnection, LimitedHttpProtocol):
    """HTTP/1.1, with the connection in the scope's extensions."""

    def on_message_begin(self) -> None:
        """Start a request's scope."""
        super().on_message_begin()
        extensions: dict[str, Any] = {EXTENSION: self.connection}
        self.scope["extensions"] = extensions

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn always closes
        """Return whether the connection stays open for the answer to a client that half-closed.

        With TLS there are no half-closed connections.
        """
        self.connection.half_closed = True
        return self.scheme == "http" and self.close_after_answer()


class StreamingWebSocketProtocol(_UpdatesConnection, LimitedWebSocketProtocol):
    """WebSocket, with the connection in the scope's extensions; takes little memory when idle."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.queue = Mailbox()  # type: ignore[assignment]  # has what uvicorn uses of a queue

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Make uvicorn wait at the connection's own gate."""
        super().connection_made(transport)
        self.writable = self.connection.writable  # type: ignore[assignment]  # has what uvicorn uses of an event

    async def run_asgi(self) -> None:
        """Run the application on the scope of the handshake."""
        extensions: dict[str, Any] = {
            **(self.scope["extensions"] or {}),
            EXTENSION: self.connection,
        }
        self.scope["extensions"] = extensions
        # The scope has all of the request, which would otherwise stay in memory as long as the
        # connection. The parser keeps the object too, so its headers are cleared.
        self.request.headers.clear()
        del self.request
        await super().run_asgi()

    async def send(self, message: Any) -> None:
        """Send a message. The handshake's response is dropped once it has been sent."""
        await super().send(message)
        if message["type"] == "websocket.accept":
            del self.response
        elif message["type"] == "websocket.http.response.body":
            # The refusal is complete. uvicorn would log the handshake as not completed.
            self.handshake_complete = self.handshake_complete or self.close_sent
