"""The state behind the metrics: plain integers, one set for each protocol.

One thread (the event loop's) writes. Readers on other threads see each number as it was at some
moment, which is enough for a scrape.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from riptide_telemetry import catalog
from riptide_telemetry.labels import (
    PUBLISH_FAILURES,
    CloseReason,
    MessageOrigin,
    PublishOutcome,
    ReadingOutcome,
    RecordOutcome,
    ServicePart,
    StreamProtocol,
    TokenOutcome,
)
from riptide_telemetry.state.bucket_histogram import BucketHistogram
from riptide_telemetry.state.protocol_metrics import ProtocolMetrics
from riptide_telemetry.state.ratios import Ratios
from riptide_telemetry.state.sliding_window import SlidingWindow, StreamTotals, Totals
from riptide_telemetry.state.topic_metrics import TopicLabels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from riptide_telemetry.labels import DropReason, ErrorType, ReconnectionOutcome


class StreamingMetrics:
    """Everything that is counted, and the ratios that follow from it.

    Record through a ``StreamLifecycleManager``, or by hand with the ``record_`` methods.
    ``ndjson``, ``sse`` and ``websocket`` have these methods too, without the argument ``protocol``.
    Ratios are over the last 5 minutes, and always defined. ``clock`` is monotonic, in seconds.

    Raises:
        ValueError: there are more than 50 topic prefixes.

    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        topic_prefixes: Iterable[str] = (),
    ) -> None:
        self.topics = TopicLabels(topic_prefixes)
        self.by_protocol: dict[StreamProtocol, ProtocolMetrics] = {}
        self.published = dict.fromkeys(PublishOutcome, 0)
        self.window = SlidingWindow(self._totals, clock)
        for protocol in StreamProtocol:
            self.by_protocol[protocol] = ProtocolMetrics(protocol, self.window.advance)
        self.ndjson = self.by_protocol[StreamProtocol.NDJSON]
        self.sse = self.by_protocol[StreamProtocol.SSE]
        self.websocket = self.by_protocol[StreamProtocol.WEBSOCKET]
        self.log_append_duration = BucketHistogram(catalog.LOG_APPEND_DURATION.bounds)
        self.log_records = dict.fromkeys(RecordOutcome, 0)
        self.log_write_duration = BucketHistogram(catalog.LOG_WRITE_DURATION.bounds)
        self.log_feed_latency = {
            origin: BucketHistogram(catalog.LOG_FEED_LATENCY.bounds) for origin in MessageOrigin
        }
        self.token_checks = dict.fromkeys(TokenOutcome, 0)
        self.key_readings = dict.fromkeys(ReadingOutcome, 0)
        self.unaccounted = 0
        self.faults = dict.fromkeys(ServicePart, 0)

    def record_connection(self, protocol: StreamProtocol) -> None:
        """Count a connection that has opened."""
        self.by_protocol[protocol].record_connection()

    def record_disconnection(
        self,
        protocol: StreamProtocol,
        duration_s: float,
        reason: CloseReason = CloseReason.CLIENT_CLOSED,
    ) -> None:
        """Count a connection that closed after ``duration_s`` seconds; ignored if none is open."""
        self.by_protocol[protocol].record_disconnection(duration_s, reason)

    def record_item_sent(
        self, protocol: StreamProtocol, count: int = 1, size_bytes: int = 0
    ) -> None:
        """Count messages sent, and their bytes."""
        # Inlined, because manual recording calls this for each message.
        metrics = self.by_protocol[protocol]
        metrics.sent += count
        metrics.sent_bytes += size_bytes

    def record_item_received(self, protocol: StreamProtocol, count: int = 1) -> None:
        """Count messages that a client sent."""
        self.by_protocol[protocol].record_item_received(count)

    def record_item_dropped(
        self, protocol: StreamProtocol, reason: DropReason, count: int = 1
    ) -> None:
        """Count messages that a consumer will not get."""
        self.by_protocol[protocol].record_item_dropped(reason, count)

    def record_error(
        self, protocol: StreamProtocol, error_type: ErrorType, *, first_of_connection: bool = True
    ) -> None:
        """Count an error.

        The error rate counts the connection too if ``first_of_connection``: it had no other error
        in the last 5 minutes.
        """
        self.by_protocol[protocol].record_error(error_type, first_of_connection=first_of_connection)

    def record_reconnection(self, protocol: StreamProtocol, outcome: ReconnectionOutcome) -> None:
        """Count a consumer that gave a position to resume from."""
        self.by_protocol[protocol].record_reconnection(outcome)

    def ratios(self) -> Ratios:
        """Return the ratios of the last 5 minutes."""
        counts = self.window.counts()
        return Ratios(counts, sum(metrics.active for metrics in self.by_protocol.values()))

    def error_rate(self) -> float:
        """Return the share of connections that met an error; 0 if there were no connections."""
        return self.ratios().error_rate()

    def health_ratio(self) -> float:
        """Return the smaller of two shares: connections without an error, and publishes kept."""
        return self.ratios().health_ratio()

    def delivery_ratio(self) -> float:
        """Return sent ÷ (sent + dropped); 1 if nothing was attempted."""
        return self.ratios().delivery_ratio()

    def reconnection_rate(self) -> float:
        """Return reconnections ÷ connections opened; 0 if there were none."""
        return self.ratios().reconnection_rate()

    def average_items_per_connection(self) -> float:
        """Return messages sent ÷ connections that were open; 0 if there were none."""
        return self.ratios().items_per_connection()

    def _totals(self) -> Totals:
        parts = [metrics.totals() for metrics in self.by_protocol.values()]
        accepted = self.published[PublishOutcome.ACCEPTED]
        failed = sum(self.published[outcome] for outcome in PUBLISH_FAILURES)
        streams = StreamTotals(*(sum(column) for column in zip(*parts, strict=True)))
        return Totals(*streams, accepted, failed)
