"""The one place where the parts are put together."""

from __future__ import annotations

import importlib.metadata
import os
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from riptide.access.build import make_gate
from riptide.access.credentials import TokenOutOfQuery
from riptide.access.operators import OperatorsOnly, read_token
from riptide.access.origins import ANY
from riptide.admission.admission import Admission, Limits
from riptide.endpoints.metrics import metrics
from riptide.endpoints.problems import EXCEPTION_HANDLERS
from riptide.errors import InvalidSettingsError
from riptide.hub.hub import Hub
from riptide.hub.ring import RingLimits
from riptide.lifespan import lifespan
from riptide.publishing.ingest import Ingest
from riptide.routes import OPERATORS, make_routes
from riptide.server.http_limits import RequestLimits
from riptide.settings.settings import load_settings
from riptide.slow_consumers import parse_rules
from riptide.storage.memory import MemoryLog
from riptide.storage.message_log import Retention
from riptide.storage.sqlite import SqliteLog
from riptide.streaming.drain import Drain
from riptide.streaming.heartbeat import Heartbeat
from riptide.streaming.streams import Streams
from riptide_telemetry import EventLoopMonitor, InvalidTelemetryError, catalog, start_telemetry

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from riptide.endpoints.metrics_targets import MetricsTargets
    from riptide.settings.settings import Settings
    from riptide.storage.message_log import MessageLog
    from riptide_telemetry import Telemetry

DISTRIBUTION = "riptide-streaming"


def create_app(
    settings: Settings | None = None, metrics_targets: MetricsTargets | None = None
) -> Starlette:
    """Build the application; nothing runs until its lifespan does.

    With ``metrics_targets`` it is one of several workers: ``/metrics`` is then on the application
    at ``app.state.metrics_app``, to be served on a port of its own. So it is, with health beside
    it, where the settings give metrics a port.

    Raises:
        InvalidSettingsError: no settings were given, and those of the environment are wrong.
        KeyFileError: the operators' token cannot be read.

    """
    settings = settings or load_settings()
    # The stable names of http.server.*; the instrumentation's own default is the old ones.
    os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")
    log = _make_log(settings)
    telemetry = _start_telemetry(settings)
    monitor = EventLoopMonitor(telemetry.metrics.window.advance)
    lifecycle = telemetry.lifecycle
    hub = Hub(
        log,
        lifecycle,
        RingLimits(settings.ring_messages, settings.ring_bytes, settings.max_lag_seconds),
        parse_rules(settings.slow_consumer),
    )
    admission = Admission(
        Limits(
            connections_per_address=settings.max_connections_per_address,
            connections_per_identity=settings.max_connections_per_identity,
            accept_rate=settings.accept_rate,
            accept_rate_per_address=settings.accept_rate_per_address,
            publish_rate=settings.publish_rate,
        )
    )
    streams = Streams(
        hub,
        lifecycle,
        max_connections=settings.max_connections,
        retry_s=settings.retry_seconds,
        admission=admission,
    )
    ingest = Ingest(
        hub,
        lifecycle,
        max_body_bytes=settings.max_body_bytes,
        max_message_bytes=settings.max_message_bytes,
        max_batch_messages=settings.max_batch_messages,
        admission=admission,
    )
    telemetry.observe(
        {
            catalog.CONNECTION_LIMIT: lambda: streams.limit,
            catalog.CONSUMER_LAG: hub.consumer_lag,
            catalog.DRAINING: lambda: streams.draining,
            catalog.EVENT_LOOP_LAG: monitor.lag_seconds,
            catalog.LOG_SIZE: log.size_bytes,
            catalog.MEMORY_USAGE: lambda: (
                hub.memory_bytes() + streams.memory_bytes() + ingest.bodies.held_bytes
            ),
            catalog.QUEUED_MESSAGES: hub.queued_messages,
            catalog.TOPICS: hub.topic_count,
        }
    )
    token = None if settings.metrics_token_file is None else read_token(settings.metrics_token_file)
    routes = make_routes(
        telemetry.meter_provider,
        telemetry.tracer_provider,
        shares_port=metrics_targets is not None,
        operators_token=token,
    )
    operators = _only_metrics(token)
    if metrics_targets is None and settings.metrics_port is not None:
        operators = [route for route in routes if getattr(route, "path", "") in OPERATORS]
        routes = [route for route in routes if route not in operators]
    app = Starlette(
        routes=routes,
        middleware=_make_middleware(settings),
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=lifespan,
    )
    app.state.log = log
    app.state.hub = hub
    app.state.telemetry = telemetry
    app.state.metrics_targets = metrics_targets
    app.state.metrics_app = Starlette(routes=operators, exception_handlers=EXCEPTION_HANDLERS)
    app.state.metrics_app.state = app.state
    app.state.gate = make_gate(settings, lifecycle)
    app.state.request_limits = RequestLimits(
        settings.head_timeout_seconds,
        settings.body_timeout_seconds,
        settings.write_timeout_seconds,
    )
    app.state.event_loop_monitor = monitor
    app.state.streams = streams
    app.state.ingest = ingest
    app.state.heartbeat = Heartbeat(
        streams,
        interval_s=settings.heartbeat_seconds,
        write_timeout_s=settings.write_timeout_seconds,
    )
    app.state.drain = Drain(streams, settings.drain_seconds)
    return app


def _start_telemetry(settings: Settings) -> Telemetry:
    try:
        return start_telemetry(
            importlib.metadata.version(DISTRIBUTION), topic_prefixes=settings.topic_labels
        )
    except InvalidTelemetryError as error:
        raise InvalidSettingsError(str(error)) from error


def _only_metrics(token: bytes | None) -> list[BaseRoute]:
    guards = [] if token is None else [Middleware(OperatorsOnly, token=token)]
    return [Route("/metrics", metrics, middleware=guards)]


def _make_middleware(settings: Settings) -> list[Middleware]:
    layers = [*_trust_proxies(settings), Middleware(TokenOutOfQuery)]
    if settings.allowed_origins:
        layers.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.allowed_origins,
                allow_methods=["GET", "HEAD", "POST"],
                allow_headers=["Authorization", "Content-Type", "Last-Event-ID"],
                # With cookies, for EventSource; but not from anywhere.
                allow_credentials=ANY not in settings.allowed_origins,
                expose_headers=["Retry-After", "WWW-Authenticate"],
            )
        )
    return layers


def _trust_proxies(settings: Settings) -> list[Middleware]:
    """Return what makes the client of a request that came through proxies its first untrusted."""
    if not settings.trusted_proxies:
        return []
    trusted = list(settings.trusted_proxies)
    return [Middleware(ProxyHeadersMiddleware, trusted_hosts=trusted)]


def _make_log(settings: Settings) -> MessageLog:
    retention = Retention(
        settings.retention_messages, settings.retention_seconds, settings.max_topics
    )
    if settings.log == "memory":
        return MemoryLog(retention)
    return SqliteLog(settings.data_dir, retention)
