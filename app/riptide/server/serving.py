"""Runs uvicorn with limits, a ``ClientConnection`` for each stream, and a drain at the signal."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
import ssl
from typing import TYPE_CHECKING, Any

import uvicorn

from riptide.errors import FaultError, KeyFileError
from riptide.lifespan import lifespan
from riptide.main import make_app, make_metrics_app
from riptide.process import hangup
from riptide.process.background import beside
from riptide.server.http_limits import LimitedConfig, RequestLimits
from riptide.server.opening import answering_while_opening, opening_app
from riptide.server.protocols import StreamingHttpProtocol, StreamingWebSocketProtocol
from riptide.server.shared_listener import SharedListener
from riptide.server.side_server import SideServer
from riptide.server.threads import closed_without_threads, started_threads
from riptide.server.tls import CertificateState, follow_renewals
from riptide.server.write_timeout import enforce_write_timeout
from riptide_telemetry import ServicePart, catalog

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Generator, Sequence
    from types import FrameType

    from starlette.types import ASGIApp

    from riptide.server.tls import Tls
    from riptide.server.turns import Turns
    from riptide.service import Service
    from riptide.streaming.connection import ClientConnection
    from riptide.streaming.drain import Drain

# A hello is short, and clients have no reason to send any other frame.
MAX_FRAME_BYTES = 64 * 1024
PING_INTERVAL_S = 20.0
# After the drain, publishes that wait for the log are answered after so long, ...
LAST_ANSWERS_S = 1.0
# ... and uvicorn cancels the requests that have not ended after so long.
GRACE_S = 2


class DrainingServer(uvicorn.Server):
    """A server that drains its streams, still listening, between the signal and its exit.

    uvicorn alone would wait for streams to end by themselves. A second signal makes the server
    exit at once, unless it is one of those that only drain, which may come from two senders. SIGHUP
    begins the drain too. Unlike uvicorn, the server does not raise the signals again at its exit,
    because the log is still to be closed.
    """

    def __init__(  # noqa: PLR0913  # each is a part of its own
        self,
        config: uvicorn.Config,
        drain: Drain,
        on_started: Callable[[], None],
        answer_waiting: Callable[[], None] = lambda: None,
        only_drain: Collection[int] = (signal.SIGHUP,),
        *,
        shared: SharedListener | None = None,
    ) -> None:
        super().__init__(config)
        self._shared = shared
        self._only_drain = only_drain
        self._drain = drain
        self._on_started = on_started
        self._answer_waiting = answer_waiting
        self._leaving: asyncio.Task[None] | None = None
        self._signalled = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Note the loop on which signals are to be handled, and report the start."""
        self._loop = asyncio.get_running_loop()
        if self._shared is None:
            await super().startup(sockets)
        else:
            self.server_state.connections = self._shared.connections
            await super().startup([])
            self._shared.start(self._make_protocol, self.config.ssl)
            self.servers = [self._shared]  # type: ignore[list-item]  # has what uvicorn uses of a server
        self._on_started()

    def _make_protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]  # as uvicorn does it
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let the requests under way end, and answer those in time that wait for the log."""
        answering = asyncio.get_running_loop().call_later(LAST_ANSWERS_S, self._answer_waiting)
        await super().shutdown(sockets)
        answering.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Handle the signals within this context."""
        with super().capture_signals(), hangup.handled_once_by(self.handle_exit):
            yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  # uvicorn's signature
        """Begin the drain at the first signal, exit at once at the second."""
        if self._loop is None:
            self.should_exit = self.force_exit = True
        elif not self._signalled:
            self._loop.call_soon_threadsafe(self._leave_at_signal)
        elif sig not in self._only_drain:
            self.should_exit = self.force_exit = True
            self._loop.call_soon_threadsafe(self._drain.cut_short)

    def _leave_at_signal(self) -> None:
        # A drain because of a fault may be under way: the first signal does not cut it short.
        self._signalled = True
        self.leave()

    def leave(self) -> None:
        """Begin the drain, unless it has begun, and exit after it."""
        if self._leaving is None:
            self._leaving = asyncio.create_task(self._drain_and_exit())

    async def _drain_and_exit(self) -> None:
        try:
            await self._drain.run()
        finally:
            self.should_exit = True


def serve(  # noqa: PLR0913  # each is a part of its own
    service: Service,
    listener: socket.socket,
    metrics_listener: socket.socket | None = None,
    tls: Tls | None = None,
    *,
    on_started: Callable[[], None] = lambda: None,
    turns: Turns | None = None,
) -> None:
    """Serve until a signal ends it; ``make_metrics_app`` on ``metrics_listener``, if it is given.

    With ``turns``, other workers accept connections from the same listener.

    Raises:
        StartError: the data directory, the log in it or the certificate cannot be used, or the
            system allows too few threads.
        FaultError: the process drained because of a fault of its own.

    """
    limits = _limits_of(service)
    config = _configure(make_app(service), limits, tls)
    shared = None
    if turns is not None:
        shared = SharedListener(listener, turns, is_last=lambda: not service.readiness.is_ready())
    server = DrainingServer(
        config,
        service.drain,
        on_started,
        service.hub.refuse_waiting,
        _only_drain(service),
        shared=shared,
    )
    metrics = None
    if metrics_listener is not None:
        metrics_config = _configure(make_metrics_app(service), limits, tls)
        metrics = SideServer(metrics_config, metrics_listener)
    with (
        listener,
        closed_without_threads(),
        asyncio.Runner(loop_factory=config.get_loop_factory()) as runner,
    ):
        runner.run(_run(service, server, listener, metrics, tls))
    if service.faults.first is not None:
        raise FaultError(
            f"the process has ended because of a fault of Riptide in {service.faults.first}: start "
            "it again, and report the log record of the fault"
        )


async def _run(
    service: Service,
    server: DrainingServer,
    listener: socket.socket,
    metrics: SideServer | None,
    tls: Tls | None,
) -> None:
    servers = [each for each in (server, metrics) if each is not None]
    leave_soon = functools.partial(asyncio.get_running_loop().call_soon_threadsafe, server.leave)
    background = _background(service, servers, tls)
    listeners = [listener] if metrics is None else [listener, metrics.listener]
    opening_config = _configure(opening_app, _limits_of(service), tls)
    opening = [SideServer(opening_config, each.dup()) for each in listeners]
    with started_threads():
        async with _opened(service, opening), beside(service.faults, background):
            service.faults.at_first(leave_soon)
            if metrics is None:
                await server.serve(sockets=[listener])
                return
            async with beside(service.faults, {ServicePart.METRICS_SERVER: metrics.run_beside}):
                await server.serve(sockets=[listener])
                await metrics.finish()


@contextlib.asynccontextmanager
async def _opened(service: Service, opening: Sequence[SideServer]) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        async with answering_while_opening(opening):
            await stack.enter_async_context(lifespan(service))
        yield


def _background(
    service: Service, servers: Sequence[uvicorn.Server], tls: Tls | None
) -> dict[ServicePart, Callable[[], Coroutine[Any, Any, None]]]:
    def connections() -> list[ClientConnection]:
        states = [each.server_state for each in servers]
        return [protocol.connection for state in states for protocol in state.connections]  # type: ignore[union-attr]  # all are of our protocol classes

    write_timeout_s = service.settings.write_timeout_seconds
    background: dict[ServicePart, Callable[[], Coroutine[Any, Any, None]]] = {
        ServicePart.WRITE_TIMEOUT: functools.partial(
            enforce_write_timeout, connections, service.streams, write_timeout_s, service.faults
        )
    }
    if tls is not None:
        contexts = [each.config.ssl for each in servers if each.config.ssl is not None]
        certificate = CertificateState.at_the_start(tls)
        service.telemetry.observe(
            {
                catalog.CERTIFICATE_EXPIRY: lambda: certificate.expires_at,
                catalog.CERTIFICATE_REFUSED: lambda: certificate.refused,
            }
        )
        service.readiness.shown["certificate"] = certificate.describe
        background[ServicePart.CERTIFICATE_RENEWAL] = functools.partial(
            follow_renewals, tls, contexts, certificate
        )
    return background


def _only_drain(service: Service) -> Collection[int]:
    """Return the signals that are no second signal, however often they come."""
    is_worker = service.metrics_targets is not None
    # systemd sends SIGTERM to the supervisor, which passes it on, and to each worker itself.
    return {signal.SIGHUP, signal.SIGTERM} if is_worker else {signal.SIGHUP}


def _limits_of(service: Service) -> RequestLimits:
    settings = service.settings
    return RequestLimits(
        settings.head_timeout_seconds,
        settings.body_timeout_seconds,
        settings.write_timeout_seconds,
        settings.keep_alive_seconds,
    )


def _configure(app: ASGIApp, limits: RequestLimits, tls: Tls | None = None) -> uvicorn.Config:
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
