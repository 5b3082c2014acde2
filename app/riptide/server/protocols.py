"""The protocol classes that uvicorn runs: with limits, and with a connection for streams to see."""

from __future__ import annotations

import asyncio
from typing import Any

from riptide.server.http_limits import LimitedHttpProtocol
from riptide.server.mailbox import Mailbox
from riptide.server.websocket_limits import LimitedWebSocketProtocol
from riptide.streaming.connection import EXTENSION, ClientConnection


class _TellsConnection(asyncio.Protocol):
    """Keeps a ``ClientConnection`` true to what the transport reports."""

    connection: ClientConnection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.connection = ClientConnection(transport)  # type: ignore[arg-type]  # uvicorn serves stream transports only
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connection.lose(exc)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        self.connection.writable.clear()
        super().pause_writing()

    def resume_writing(self) -> None:
        self.connection.writable.set()
        super().resume_writing()


class StreamingHttpProtocol(_TellsConnection, LimitedHttpProtocol):
    """HTTP/1.1, with the connection in the scope's extensions."""

    def on_message_begin(self) -> None:
        """Start a request's scope."""
        super().on_message_begin()
        extensions: dict[str, Any] = {EXTENSION: self.connection}
        self.scope["extensions"] = extensions


class StreamingWebSocketProtocol(_TellsConnection, LimitedWebSocketProtocol):
    """WebSocket, with the connection in the scope's extensions; light when it is idle."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.queue = Mailbox()  # type: ignore[assignment]  # it has what uvicorn uses of a queue

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let uvicorn wait at the connection's own gate."""
        super().connection_made(transport)
        self.writable = self.connection.writable  # type: ignore[assignment]  # and of an event

    async def run_asgi(self) -> None:
        """Run the application on the scope of the handshake."""
        extensions: dict[str, Any] = {
            **(self.scope["extensions"] or {}),
            EXTENSION: self.connection,
        }
        self.scope["extensions"] = extensions
        # What the connection would hold to its end, though the scope has all of it; the parser
        # holds on to the request itself.
        self.request.headers.clear()
        del self.request
        await super().run_asgi()

    async def send(self, message: Any) -> None:
        """Pass it on, and let go of the handshake's answer once it has been given."""
        await super().send(message)
        if message["type"] == "websocket.accept":
            del self.response
        elif message["type"] == "websocket.http.response.body":
            # Refused in full; uvicorn would report a handshake that was left open.
            self.handshake_complete = self.handshake_complete or self.close_sent
