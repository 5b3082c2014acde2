"""Metrics of streams: report events to a ``Lifecycle``, then scrape or export the metrics."""

from riptide_telemetry import catalog
from riptide_telemetry.batch import MessageBatch
from riptide_telemetry.environment.kinds import InvalidTelemetryError
from riptide_telemetry.event_loop import EventLoopMonitor
from riptide_telemetry.instruments.snapshots import Snapshots
from riptide_telemetry.labels import (
    CloseReason,
    DropReason,
    ErrorType,
    GapSign,
    LagBound,
    MessageOrigin,
    PublishOutcome,
    ReadingOutcome,
    ReconnectionOutcome,
    RecordOutcome,
    RejectReason,
    ServicePart,
    Signal,
    Source,
    StreamOutcome,
    StreamProtocol,
    TokenOutcome,
)
from riptide_telemetry.labels import StreamProtocol as Protocol
from riptide_telemetry.lifecycle import Lifecycle
from riptide_telemetry.merging.rules import merged, remaining
from riptide_telemetry.merging.snapshot import Snapshot
from riptide_telemetry.middleware.asgi import StreamTelemetryMiddleware
from riptide_telemetry.otlp.export_settings import read_export_settings
from riptide_telemetry.otlp.log_export import log_trace
from riptide_telemetry.prometheus.exposition import Exposition, Scrape
from riptide_telemetry.providers import Telemetry, start_telemetry
from riptide_telemetry.recording.events import Event, EventName
from riptide_telemetry.recording.lifecycle_manager import StreamLifecycleManager
from riptide_telemetry.state.bucket_histogram import Moments
from riptide_telemetry.state.streaming_metrics import StreamingMetrics
from riptide_telemetry.state.topic_metrics import TopicLabels
from riptide_telemetry.traces.trace_context import sampled_trace
from riptide_telemetry.traces.tracing import ConnectionTotals, Publishing

__all__ = [
    "CloseReason",
    "ConnectionTotals",
    "DropReason",
    "ErrorType",
    "Event",
    "EventLoopMonitor",
    "EventName",
    "Exposition",
    "GapSign",
    "InvalidTelemetryError",
    "LagBound",
    "Lifecycle",
    "MessageBatch",
    "MessageOrigin",
    "Moments",
    "Protocol",
    "PublishOutcome",
    "Publishing",
    "ReadingOutcome",
    "ReconnectionOutcome",
    "RecordOutcome",
    "RejectReason",
    "Scrape",
    "ServicePart",
    "Signal",
    "Snapshot",
    "Snapshots",
    "Source",
    "StreamLifecycleManager",
    "StreamOutcome",
    "StreamProtocol",
    "StreamTelemetryMiddleware",
    "StreamingMetrics",
    "Telemetry",
    "TokenOutcome",
    "TopicLabels",
    "catalog",
    "log_trace",
    "merged",
    "read_export_settings",
    "remaining",
    "sampled_trace",
    "start_telemetry",
]
