"""uvicorn, with three things added: limits, streams see their connection, the signal drains."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Any

import uvicorn

from riptide.errors import AddressError, KeyFileError
from riptide.lifespan import lifespan
from riptide.process.background import beside
from riptide.server.http_limits import LimitedConfig, LimitedHttpProtocol, RequestLimits
from riptide.server.tls import follow_renewals
from riptide.server.websocket_limits import LimitedWebSocketProtocol
from riptide.server.write_timeout import enforce_write_timeout
from riptide.streaming.connection import EXTENSION, ClientConnection
from riptide.streaming.write_gate import Mailbox

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
    from types import FrameType

    from starlette.applications import Starlette

    from riptide.server.tls import Tls
    from riptide.streaming.drain import Drain

# A hello is a short sentence; nothing else is ever sent to us in a frame.
MAX_FRAME_BYTES = 64 * 1024
PING_INTERVAL_S = 20.0
# For requests that are not streams, once the drain is over.
GRACE_S = 1
BACKLOG = 2048


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


class DrainingServer(uvicorn.Server):
    """A server that drains its streams, still listening, between the signal and its exit.

    uvicorn alone would wait for streams to end by themselves. A second signal makes it leave
    at once. Signals are not raised again afterwards, as uvicorn does: they have been obeyed,
    and the log is still to be closed.
    """

    def __init__(
        self, config: uvicorn.Config, drain: Drain, on_started: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self._on_started = on_started
        self._leaving: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Remember the loop on which signals are to be handled, and say that we serve."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self._on_started()

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


class _MetricsServer(uvicorn.Server):
    """A second server beside the first, which has the signals."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        super().__init__(config)
        self.listener = listener

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals alone."""
        yield


def serve(
    app: Starlette,
    listener: socket.socket,
    metrics_listener: socket.socket | None = None,
    tls: Tls | None = None,
    on_started: Callable[[], None] = lambda: None,
) -> None:
    """Serve until a signal ends it; ``/metrics`` on a listener of its own, if one is given.

    Raises:
        StartError: the data directory, the log in it or the certificate cannot be used.

    """
    limits: RequestLimits = app.state.request_limits
    config = _configure(app, limits, tls)
    server = DrainingServer(config, app.state.drain, on_started)
    metrics = None
    if metrics_listener is not None:
        metrics = _MetricsServer(_configure(app.state.metrics_app, limits, tls), metrics_listener)
    with listener, asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_run(app, server, listener, metrics, tls))


async def _run(
    app: Starlette,
    server: DrainingServer,
    listener: socket.socket,
    metrics: _MetricsServer | None,
    tls: Tls | None,
) -> None:
    servers = [each for each in (server, metrics) if each is not None]
    async with lifespan(app), beside(*_background(app, servers, tls)):
        if metrics is None:
            await server.serve(sockets=[listener])
            return
        serving = asyncio.create_task(metrics.serve(sockets=[metrics.listener]))
        await server.serve(sockets=[listener])
        metrics.should_exit = True
        await serving


def _background(
    app: Starlette, servers: Sequence[uvicorn.Server], tls: Tls | None
) -> Iterator[Coroutine[Any, Any, None]]:
    limits: RequestLimits = app.state.request_limits

    def connections() -> list[ClientConnection]:
        states = [each.server_state for each in servers]
        return [protocol.connection for state in states for protocol in state.connections]  # type: ignore[union-attr]  # all are ours

    yield enforce_write_timeout(connections, app.state.streams, limits.write_timeout_s)
    if tls is not None:
        contexts = [each.config.ssl for each in servers if each.config.ssl is not None]
        yield follow_renewals(tls, contexts)


def _configure(app: Starlette, limits: RequestLimits, tls: Tls | None = None) -> uvicorn.Config:
    config = LimitedConfig(
        app,
        limits,
        http=StreamingHttpProtocol,
        ws=StreamingWebSocketProtocol,
        ws_max_size=MAX_FRAME_BYTES,
        ws_ping_interval=PING_INTERVAL_S,
        # Tens of kilobytes a connection, to compress what is small already.
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=GRACE_S,
        # Entered by us: an error of its own is raised to us, and not printed by uvicorn.
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        ssl_certfile=None if tls is None else tls.certificate,
        ssl_keyfile=None if tls is None else tls.key,
        # The application does it, for the proxies that the settings name; uvicorn's own default
        # believes whoever connects from this machine.
        proxy_headers=False,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise KeyFileError(
            f"cannot serve TLS with the certificate {config.ssl_certfile} and the key "
            f"{config.ssl_keyfile or 'in it'} ({error.strerror or error}): "
            "check RIPTIDE_TLS_CERTIFICATE and RIPTIDE_TLS_KEY"
        ) from None
    return config


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes any that is free.

    Raises:
        AddressError: it cannot be had.

    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        # Names that are too long, or have an empty part, fail in their encoding.
        why = error.strerror if isinstance(error, OSError) else "not a host name"
        raise AddressError(
            f"cannot listen on {host} port {port} ({why}): "
            "choose another address with RIPTIDE_HOST and RIPTIDE_PORT, "
            "or stop the program that has this one"
        ) from None


def address_of(listener: socket.socket, *, tls: bool = False) -> str:
    """Return the URL of what is served there."""
    scheme = "https" if tls else "http"
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
