"""The state behind the metrics: plain integers, one set for each protocol.

One thread writes (the event loop's); readers on other threads see each number as it was at some
moment, which is all that a scrape needs.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from telemetry import catalog
from telemetry.bucket_histogram import BucketHistogram
from telemetry.labels import (
    CloseReason,
    DropReason,
    ErrorType,
    Protocol,
    PublishOutcome,
    ReconnectionOutcome,
    RejectReason,
    Source,
    StreamOutcome,
)
from telemetry.sliding_window import SlidingWindow, Totals

if TYPE_CHECKING:
    from collections.abc import Callable


class ProtocolMetrics:
    """What is counted for one protocol. The lifecycle writes here; see the catalog for meanings."""

    __slots__ = (
        "active_streams",
        "backpressure_events",
        "closed",
        "connection_duration",
        "dropped",
        "errored",
        "errors",
        "latency",
        "live_latency",
        "opened",
        "protocol",
        "received",
        "reconnections",
        "rejected",
        "replay_latency",
        "sent",
        "sent_bytes",
        "stream_duration",
        "streams_ended",
        "time_to_first_message",
        "write_wait",
    )

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.opened = 0
        self.errored = 0
        self.sent = 0
        self.sent_bytes = 0
        self.received = 0
        self.backpressure_events = 0
        self.active_streams = 0
        self.closed = dict.fromkeys(CloseReason, 0)
        self.rejected = dict.fromkeys(RejectReason, 0)
        self.dropped = dict.fromkeys(DropReason, 0)
        self.errors = dict.fromkeys(ErrorType, 0)
        self.reconnections = dict.fromkeys(ReconnectionOutcome, 0)
        self.streams_ended = dict.fromkeys(StreamOutcome, 0)
        self.connection_duration = BucketHistogram(catalog.CONNECTION_DURATION.bounds)
        self.stream_duration = BucketHistogram(catalog.STREAM_DURATION.bounds)
        self.time_to_first_message = BucketHistogram(catalog.TIME_TO_FIRST_MESSAGE.bounds)
        self.write_wait = BucketHistogram(catalog.WRITE_WAIT.bounds)
        self.live_latency = BucketHistogram(catalog.DELIVERY_LATENCY.bounds)
        self.replay_latency = BucketHistogram(catalog.DELIVERY_LATENCY.bounds)
        self.latency = {Source.LIVE: self.live_latency, Source.REPLAY: self.replay_latency}

    @property
    def active(self) -> int:
        """How many connections are open now."""
        # In this order: seen from another thread, what has closed had opened before.
        closed = sum(self.closed.values())
        return self.opened - closed

    def totals(self) -> Totals:
        """Return what the sliding window needs."""
        # What follows from an opening first, the openings last: a ratio stays below 1.
        closed, errored = sum(self.closed.values()), self.errored
        return Totals(
            self.opened,
            closed,
            errored,
            sum(self.reconnections.values()),
            self.sent,
            sum(self.dropped.values()),
        )


class StreamingMetrics:
    """Everything that is counted, and the ratios that follow from it.

    Feed it through a ``StreamLifecycleManager``, or by hand with the ``record_`` methods. Ratios
    are over the last 5 minutes, and never undefined. ``clock`` returns seconds and never goes
    back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.ndjson = ProtocolMetrics(Protocol.NDJSON)
        self.sse = ProtocolMetrics(Protocol.SSE)
        self.websocket = ProtocolMetrics(Protocol.WEBSOCKET)
        self.by_protocol = {
            Protocol.NDJSON: self.ndjson,
            Protocol.SSE: self.sse,
            Protocol.WEBSOCKET: self.websocket,
        }
        self.published = dict.fromkeys(PublishOutcome, 0)
        self.log_append_duration = BucketHistogram(catalog.LOG_APPEND_DURATION.bounds)
        self.unaccounted = 0
        self.window = SlidingWindow(self._totals, clock)

    def record_connection(self, protocol: Protocol) -> None:
        """Count a connection that has opened."""
        self.window.advance()
        self.by_protocol[protocol].opened += 1

    def record_disconnection(
        self,
        protocol: Protocol,
        duration_s: float,
        reason: CloseReason = CloseReason.CLIENT_CLOSED,
    ) -> None:
        """Count a connection that has closed after so many seconds; ignored if none is open."""
        self.window.advance()
        metrics = self.by_protocol[protocol]
        if not metrics.active:
            return
        metrics.closed[reason] += 1
        metrics.connection_duration.observe(duration_s)

    def record_item_sent(self, protocol: Protocol, count: int = 1, size_bytes: int = 0) -> None:
        """Count messages sent, and their bytes."""
        metrics = self.by_protocol[protocol]
        metrics.sent += count
        metrics.sent_bytes += size_bytes

    def record_item_received(self, protocol: Protocol, count: int = 1) -> None:
        """Count messages that a client sent."""
        self.by_protocol[protocol].received += count

    def record_item_dropped(self, protocol: Protocol, reason: DropReason, count: int = 1) -> None:
        """Count messages that a consumer will not get."""
        self.by_protocol[protocol].dropped[reason] += count

    def record_error(
        self, protocol: Protocol, error_type: ErrorType, *, first_of_connection: bool = True
    ) -> None:
        """Count an error; the error rate counts a connection once, by its first one."""
        self.window.advance()
        metrics = self.by_protocol[protocol]
        metrics.errors[error_type] += 1
        metrics.errored += first_of_connection

    def record_reconnection(self, protocol: Protocol, outcome: ReconnectionOutcome) -> None:
        """Count a consumer that came back with a position."""
        self.window.advance()
        self.by_protocol[protocol].reconnections[outcome] += 1

    def error_rate(self) -> float:
        """Return the share of connections that met an error; 0 if there were no connections."""
        counts = self.window.counts()
        connections = self._connections(counts)
        return min(1.0, counts.errored / connections) if connections else 0.0

    def health_ratio(self) -> float:
        """Return the share of connections that met no error."""
        return 1.0 - self.error_rate()

    def delivery_ratio(self) -> float:
        """Return sent ÷ (sent + dropped); 1 if nothing was attempted."""
        counts = self.window.counts()
        attempted = counts.sent + counts.dropped
        return counts.sent / attempted if attempted else 1.0

    def reconnection_rate(self) -> float:
        """Return reconnections ÷ connections opened; 0 if there were none."""
        counts = self.window.counts()
        # A WebSocket may resume more than once on one connection.
        return min(1.0, counts.reconnections / counts.opened) if counts.opened else 0.0

    def average_items_per_connection(self) -> float:
        """Return messages sent ÷ connections that were open; 0 if there were none."""
        counts = self.window.counts()
        connections = self._connections(counts)
        return counts.sent / connections if connections else 0.0

    def _connections(self, counts: Totals) -> int:
        """Return how many connections were open at some time of the window."""
        return counts.closed + sum(metrics.active for metrics in self.by_protocol.values())

    def _totals(self) -> Totals:
        parts = [metrics.totals() for metrics in self.by_protocol.values()]
        return Totals(*(sum(column) for column in zip(*parts, strict=True)))
