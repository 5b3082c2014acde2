"""The recording layer: tell a ``Lifecycle`` what happens to streams, scrape what follows."""

from telemetry import catalog
from telemetry.asgi import StreamTelemetryMiddleware
from telemetry.bucket_histogram import Moments
from telemetry.event_loop import EventLoopMonitor
from telemetry.events import Event, EventName
from telemetry.export_settings import InvalidTelemetryError
from telemetry.exposition import Exposition, Scrape
from telemetry.labels import (
    CloseReason,
    DropReason,
    ErrorType,
    Protocol,
    PublishOutcome,
    ReconnectionOutcome,
    RejectReason,
    Signal,
    Source,
    StreamOutcome,
)
from telemetry.lifecycle import Lifecycle
from telemetry.lifecycle_manager import StreamLifecycleManager
from telemetry.log_export import log_trace
from telemetry.providers import Telemetry, start_telemetry
from telemetry.streaming_metrics import StreamingMetrics
from telemetry.topic_metrics import TopicLabels
from telemetry.trace_context import sampled_trace
from telemetry.tracing import ConnectionTotals, Publishing

__all__ = [
    "CloseReason",
    "ConnectionTotals",
    "DropReason",
    "ErrorType",
    "Event",
    "EventLoopMonitor",
    "EventName",
    "Exposition",
    "InvalidTelemetryError",
    "Lifecycle",
    "Moments",
    "Protocol",
    "PublishOutcome",
    "Publishing",
    "ReconnectionOutcome",
    "RejectReason",
    "Scrape",
    "Signal",
    "Source",
    "StreamLifecycleManager",
    "StreamOutcome",
    "StreamTelemetryMiddleware",
    "StreamingMetrics",
    "Telemetry",
    "TopicLabels",
    "catalog",
    "log_trace",
    "sampled_trace",
    "start_telemetry",
]
