"""Runs uvicorn with limits, a ``ClientConnection`` for each stream, and a drain at the signal."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any

import uvicorn

from riptide.errors import KeyFileError
from riptide.lifespan import lifespan
from riptide.main import make_app, make_metrics_app
from riptide.process.background import beside
from riptide.server.http_limits import LimitedConfig, RequestLimits
from riptide.server.protocols import StreamingHttpProtocol, StreamingWebSocketProtocol
from riptide.server.tls import follow_renewals
from riptide.server.write_timeout import enforce_write_timeout

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
    from types import FrameType

    from starlette.applications import Starlette

    from riptide.server.tls import Tls
    from riptide.service import Service
    from riptide.streaming.connection import ClientConnection
    from riptide.streaming.drain import Drain

# A hello is short, and clients have no reason to send any other frame.
MAX_FRAME_BYTES = 64 * 1024
PING_INTERVAL_S = 20.0
# Time that requests other than streams have to end, after the drain.
GRACE_S = 1


class DrainingServer(uvicorn.Server):
    """A server that drains its streams, still listening, between the signal and its exit.

    uvicorn alone would wait for streams to end by themselves. A second signal makes the server
    exit at once. Unlike uvicorn, it does not raise the signals again at its exit, because the log
    is still to be closed.
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
        """Note the loop on which signals are to be handled, and report the start."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self._on_started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  # uvicorn's signature
        """Begin the drain at the first signal, exit at once at the second."""
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
    """The server of the metrics port, beside the main server, which handles the signals."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        super().__init__(config)
        self.listener = listener

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals alone."""
        yield


def serve(
    service: Service,
    listener: socket.socket,
    metrics_listener: socket.socket | None = None,
    tls: Tls | None = None,
    on_started: Callable[[], None] = lambda: None,
) -> None:
    """Serve until a signal ends it; ``make_metrics_app`` on ``metrics_listener``, if it is given.

    Raises:
        StartError: the data directory, the log in it or the certificate cannot be used.

    """
    limits = _limits_of(service)
    config = _configure(make_app(service), limits, tls)
    server = DrainingServer(config, service.drain, on_started)
    metrics = None
    if metrics_listener is not None:
        metrics_config = _configure(make_metrics_app(service), limits, tls)
        metrics = _MetricsServer(metrics_config, metrics_listener)
    with listener, asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_run(service, server, listener, metrics, tls))


async def _run(
    service: Service,
    server: DrainingServer,
    listener: socket.socket,
    metrics: _MetricsServer | None,
    tls: Tls | None,
) -> None:
    servers = [each for each in (server, metrics) if each is not None]
    async with lifespan(service), beside(*_background(service, servers, tls)):
        if metrics is None:
            await server.serve(sockets=[listener])
            return
        serving = asyncio.create_task(metrics.serve(sockets=[metrics.listener]))
        await server.serve(sockets=[listener])
        metrics.should_exit = True
        await serving


def _background(
    service: Service, servers: Sequence[uvicorn.Server], tls: Tls | None
) -> Iterator[Coroutine[Any, Any, None]]:
    def connections() -> list[ClientConnection]:
        states = [each.server_state for each in servers]
        return [protocol.connection for state in states for protocol in state.connections]  # type: ignore[union-attr]  # all are of our protocol classes

    write_timeout_s = service.settings.write_timeout_seconds
    yield enforce_write_timeout(connections, service.streams, write_timeout_s)
    if tls is not None:
        contexts = [each.config.ssl for each in servers if each.config.ssl is not None]
        yield follow_renewals(tls, contexts)


def _limits_of(service: Service) -> RequestLimits:
    settings = service.settings
    return RequestLimits(
        settings.head_timeout_seconds,
        settings.body_timeout_seconds,
        settings.write_timeout_seconds,
        settings.keep_alive_seconds,
    )


def _configure(app: Starlette, limits: RequestLimits, tls: Tls | None = None) -> uvicorn.Config:
    config = LimitedConfig(
        app,
        limits,
        http=StreamingHttpProtocol,
        ws=StreamingWebSocketProtocol,
        ws_max_size=MAX_FRAME_BYTES,
        ws_ping_interval=PING_INTERVAL_S,
        # Compression would take tens of kilobytes a connection, for messages that are small.
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=GRACE_S,
        # ``_run`` enters the lifespan, so that its errors reach the caller; uvicorn would log them.
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        ssl_certfile=None if tls is None else tls.certificate,
        ssl_keyfile=None if tls is None else tls.key,
        # The application reads these headers, if they come from the proxies that the settings name.
        # uvicorn's default would trust every client on this machine.
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
