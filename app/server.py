"""uvicorn, with two things added: streams see their connection, and the signal starts the drain."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from app.errors import AddressError
from app.lifespan import lifespan
from app.streaming.connection import EXTENSION, ClientConnection

if TYPE_CHECKING:
    from types import FrameType

    from starlette.applications import Starlette

    from app.settings import Settings
    from app.streaming.drain import Drain

logger = logging.getLogger("riptide.server")

# A hello is a short sentence; nothing else is ever sent to us in a frame.
MAX_FRAME_BYTES = 64 * 1024
PING_INTERVAL_S = 20.0
# For requests that are not streams, once the drain is over.
GRACE_S = 1


class _TellsConnection(asyncio.Protocol):
    """Keeps a ``ClientConnection`` true to what the transport reports."""

    connection: ClientConnection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.connection = ClientConnection(transport)  # type: ignore[arg-type]  # uvicorn serves stream transports only
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connection.lost = True
        self.connection.error = exc
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        self.connection.paused = True
        super().pause_writing()

    def resume_writing(self) -> None:
        self.connection.paused = False
        super().resume_writing()


class StreamingHttpProtocol(_TellsConnection, HttpToolsProtocol):
    """HTTP/1.1, with the connection in the scope's extensions."""

    def on_message_begin(self) -> None:
        """Start a request's scope."""
        super().on_message_begin()
        extensions: dict[str, Any] = {EXTENSION: self.connection}
        self.scope["extensions"] = extensions


class StreamingWebSocketProtocol(_TellsConnection, WebSocketsSansIOProtocol):
    """WebSocket, with the connection in the scope's extensions."""

    async def run_asgi(self) -> None:
        """Run the application on the scope of the handshake."""
        extensions: dict[str, Any] = {
            **(self.scope["extensions"] or {}),
            EXTENSION: self.connection,
        }
        self.scope["extensions"] = extensions
        await super().run_asgi()


class DrainingServer(uvicorn.Server):
    """A server that drains its streams, still listening, between the signal and its exit.

    uvicorn alone would wait for streams to end by themselves. A second signal makes it leave
    at once. Signals are not raised again afterwards, as uvicorn does: they have been obeyed,
    and the log is still to be closed.
    """

    def __init__(self, config: uvicorn.Config, drain: Drain) -> None:
        super().__init__(config)
        self._drain = drain
        self._leaving: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Remember the loop on which signals are to be handled."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  # uvicorn's signature
        """Begin the drain at the first signal, leave at once at the second."""
        if self._loop is None or self._leaving is not None:
            self.should_exit = self.force_exit = True
        else:
            self._loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        if self._leaving is None:
            self._leaving = asyncio.create_task(self._drain_and_exit())

    async def _drain_and_exit(self) -> None:
        try:
            await self._drain.run()
        finally:
            self.should_exit = True


def serve(app: Starlette, settings: Settings) -> None:
    """Serve until a signal ends it.

    Raises:
        StartError: the address, the data directory or the log in it cannot be used.

    """
    listener = _listen(settings.host, settings.port)
    config = uvicorn.Config(
        app,
        http=StreamingHttpProtocol,
        ws=StreamingWebSocketProtocol,
        ws_max_size=MAX_FRAME_BYTES,
        ws_ping_interval=PING_INTERVAL_S,
        # Tens of kilobytes a connection, to compress what is small already.
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=GRACE_S,
        # Entered below: an error of its own is raised to us, and not printed by uvicorn.
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
    )
    server = DrainingServer(config, app.state.drain)
    with listener, asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_run(app, server, listener))


async def _run(app: Starlette, server: DrainingServer, listener: socket.socket) -> None:
    async with lifespan(app):
        host, port = listener.getsockname()[:2]
        logger.info("serving on http://%s:%d", f"[{host}]" if ":" in host else host, port)
        await server.serve(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise AddressError(
            f"cannot listen on {host} port {port} ({error.strerror}): "
            "choose another address with RIPTIDE_HOST and RIPTIDE_PORT, "
            "or stop the program that has this one"
        ) from None
