"""The one place where the parts of the service are put together."""

from __future__ import annotations

import importlib.metadata
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from riptide.access.build import make_gate
from riptide.access.operators import read_token
from riptide.admission.admission import Admission, Limits
from riptide.endpoints.health import Readiness
from riptide.endpoints.service_metrics import ServiceMetrics
from riptide.errors import InvalidSettingsError
from riptide.hub.hub import APPEND_TIMEOUT_S, Hub
from riptide.hub.ring import RingLimits
from riptide.process.faults import Faults
from riptide.process.standard_error import dropped_lines
from riptide.publishing.ingest import Ingest, PublishLimits
from riptide.slow_consumers import parse_rules
from riptide.storage.jetstream.options import options_of
from riptide.storage.memory import MemoryLog
from riptide.storage.message_log import retention_of
from riptide.storage.shared.client import SharedLog
from riptide.storage.sqlite import SqliteLog
from riptide.streaming.drain import Drain
from riptide.streaming.heartbeat import Heartbeat
from riptide.streaming.log_loss import LogLoss
from riptide.streaming.streams import Streams
from riptide_telemetry import (
    EventLoopMonitor,
    InvalidTelemetryError,
    catalog,
    read_export_settings,
    start_telemetry,
)

if TYPE_CHECKING:
    from pathlib import Path

    from riptide.access.gate import Gate
    from riptide.admission.share import Share
    from riptide.endpoints.metrics_targets import MetricsTargets
    from riptide.endpoints.service_metrics import SharedSnapshots
    from riptide.settings.settings import Settings
    from riptide.storage.message_log import LocalLog, MessageLog, Retention
    from riptide_telemetry import Lifecycle, Telemetry

DISTRIBUTION = "riptide-streaming"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """All parts of one process. Routes, lifespan and server take what they need from here.

    ``metrics_targets`` and ``service_metrics`` are set in a worker, one of several that share a
    port; the latter only if metrics can be scraped. ``operators_token`` is the token that metrics
    and health require, None if they require none.
    """

    settings: Settings
    telemetry: Telemetry
    event_loop_monitor: EventLoopMonitor
    log: MessageLog
    hub: Hub
    gate: Gate
    ingest: Ingest
    streams: Streams
    heartbeat: Heartbeat
    log_loss: LogLoss
    drain: Drain
    faults: Faults
    readiness: Readiness
    operators_token: bytes | None = None
    metrics_targets: MetricsTargets | None = None
    service_metrics: ServiceMetrics | None = None


def make_service(
    settings: Settings,
    metrics_targets: MetricsTargets | None = None,
    shared_snapshots: SharedSnapshots | None = None,
    share: Share | None = None,
    log_path: Path | None = None,
) -> Service:
    """Put the parts together. Nothing is opened and nothing runs until the lifespan begins.

    ``log_path`` is the socket of the process that keeps the log; without it, this one does.

    Raises:
        InvalidSettingsError: an OTEL_* variable has a value that is not allowed, or the keys of
            tokens are behind a proxy that cannot be used.
        KeyFileError: the operators' token cannot be read.

    """
    token_file = settings.metrics_token_file
    operators_token = None if token_file is None else read_token(token_file)
    telemetry = _start_telemetry(settings, share)
    lifecycle = telemetry.lifecycle
    faults = Faults(lifecycle)
    log = make_log(settings, faults, lifecycle) if log_path is None else SharedLog(log_path, faults)
    hub = Hub(
        log,
        lifecycle,
        RingLimits(settings.ring_messages, settings.ring_bytes, settings.max_lag_seconds),
        parse_rules(settings.slow_consumer),
        append_timeout_s=_append_timeout_s(settings),
        faults=faults,
    )
    admission = _make_admission(settings, share)
    ingest = Ingest(
        hub,
        lifecycle,
        PublishLimits(
            settings.max_body_bytes, settings.max_message_bytes, settings.max_batch_messages
        ),
        admission,
    )
    streams = Streams(
        hub,
        lifecycle,
        max_connections=settings.max_connections,
        retry_s=settings.retry_seconds,
        admission=admission,
    )
    gate = make_gate(settings, lifecycle)
    service = Service(
        settings=settings,
        telemetry=telemetry,
        event_loop_monitor=EventLoopMonitor(telemetry.metrics.window.advance),
        log=log,
        hub=hub,
        gate=gate,
        ingest=ingest,
        streams=streams,
        heartbeat=Heartbeat(
            streams,
            interval_s=settings.heartbeat_seconds,
            write_timeout_s=settings.write_timeout_seconds,
            faults=faults,
        ),
        log_loss=LogLoss(
            streams, log, limit_s=settings.log_lost_seconds, window_s=settings.drain_seconds
        ),
        drain=Drain(streams, settings.drain_seconds, faults),
        faults=faults,
        readiness=Readiness(streams, log, telemetry, faults, gate),
        operators_token=operators_token,
        metrics_targets=metrics_targets,
        service_metrics=(
            None
            if shared_snapshots is None or telemetry.pushes_only
            else ServiceMetrics(telemetry, shared_snapshots)
        ),
    )
    _show_gauges(service)
    return service


def check_telemetry() -> None:
    """Check the OTEL_* variables, for a process that starts others.

    Raises:
        InvalidSettingsError: a variable has a value that is not allowed.

    """
    try:
        read_export_settings(os.environ)
    except InvalidTelemetryError as error:
        raise InvalidSettingsError(str(error)) from error


def _instance_id(settings: Settings) -> str:
    """Return what no other instance is called at the same time; empty if there is no such name."""
    if settings.instance is not None or settings.port == 0:
        return settings.instance or ""
    return f"{socket.gethostname()}:{settings.port}"


def _start_telemetry(settings: Settings, share: Share | None) -> Telemetry:
    try:
        return start_telemetry(
            importlib.metadata.version(DISTRIBUTION),
            topic_prefixes=settings.topic_labels,
            instance=_instance_id(settings),
            worker="" if share is None else str(share.slot),
        )
    except InvalidTelemetryError as error:
        raise InvalidSettingsError(str(error)) from error


def make_log(settings: Settings, faults: Faults, lifecycle: Lifecycle | None = None) -> LocalLog:
    """Return the log that the settings ask for, in this process."""
    retention = retention_of(settings)
    if settings.log == "memory":
        return MemoryLog(retention)
    if settings.log == "jetstream":
        return _make_jetstream_log(settings, retention, lifecycle)
    return SqliteLog(settings.data_dir, retention, faults)


def _append_timeout_s(settings: Settings) -> float:
    if settings.log != "jetstream":
        return APPEND_TIMEOUT_S
    # This log gives up by itself, and knows better whether anything was kept.
    return settings.append_timeout_seconds + APPEND_TIMEOUT_S


def _make_jetstream_log(
    settings: Settings, retention: Retention, lifecycle: Lifecycle | None
) -> LocalLog:
    try:
        from riptide.storage.jetstream.log import JetStreamLog  # noqa: PLC0415  # an extra
    except ModuleNotFoundError as error:
        raise InvalidSettingsError(
            f"RIPTIDE_LOG is jetstream, which needs more ({error.name} is missing): pip install "
            "'riptide-streaming[jetstream]'"
        ) from error
    return JetStreamLog(options_of(settings), retention, lifecycle)


def _make_admission(settings: Settings, share: Share | None) -> Admission:
    return Admission(
        Limits(
            connections_per_address=settings.max_connections_per_address,
            connections_per_identity=settings.max_connections_per_identity,
            accept_rate=settings.accept_rate,
            accept_rate_per_address=settings.accept_rate_per_address,
            publish_rate=settings.publish_rate,
        ),
        share,
    )


def _show_gauges(service: Service) -> None:
    """Let the metrics read the gauges, and some counters, from the parts that own them."""
    hub, streams, bodies = service.hub, service.streams, service.ingest.bodies
    log, damage = service.log, service.log.damage
    service.telemetry.observe(
        {
            catalog.APPEND_STALL: service.log.append_stall_s,
            catalog.CHECKPOINT_AGE: service.log.checkpoint_age_s,
            catalog.CONNECTION_LIMIT: streams.own_limit,
            catalog.CONSUMER_LAG: hub.consumer_lag,
            catalog.CONSUMERS_BEHIND: lambda: streams.lags.at_least,
            catalog.DRAINING: lambda: streams.draining,
            catalog.EVENT_LOOP_LAG: service.event_loop_monitor.lag_seconds,
            catalog.KEYS_AGE: service.gate.keys_age_s,
            catalog.LOG_FREE_SIZE: service.log.free_bytes,
            catalog.LOG_DAMAGED_MESSAGES: lambda: damage.unreadable_messages,
            catalog.LOG_LOST_FRAMES: lambda: damage.lost_frames,
            catalog.LOG_CONNECTED: lambda: log.connection.is_up,
            catalog.LOG_CLOCK_OFFSET: lambda: log.connection.clock_offset_s,
            catalog.LOG_CLOCK_UNCERTAINTY: lambda: log.connection.clock_uncertainty_s,
            catalog.LOG_FEED_LAG: lambda: log.connection.feed_lag_s,
            catalog.LOG_FOLLOWED_TOPICS: log.followed_count,
            catalog.LOG_GAPS: lambda: log.connection.gaps,
            catalog.LOG_RECONNECTS: lambda: log.connection.reconnects,
            catalog.LOG_RECORDS_DROPPED: dropped_lines,
            catalog.LOG_RESETS: lambda: log.connection.resets,
            catalog.LOG_SIZE: service.log.size_bytes,
            catalog.LOG_WAL_SIZE: service.log.wal_bytes,
            catalog.MEMORY_USAGE: lambda: (
                hub.memory_bytes() + streams.memory_bytes() + bodies.held_bytes
            ),
            catalog.OLDEST_APPEND_AGE: service.log.oldest_append_age_s,
            catalog.OLDEST_UNDELIVERED_AGE: lambda: streams.lags.largest_s,
            catalog.QUEUED_MESSAGES: hub.queued_messages,
            catalog.TOPICS: hub.topic_count,
        }
    )
