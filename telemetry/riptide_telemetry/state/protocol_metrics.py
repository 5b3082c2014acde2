"""The counts of one protocol: plain integers and histograms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide_telemetry import catalog
from riptide_telemetry.labels import (
    CloseReason,
    DropReason,
    ErrorType,
    ReconnectionOutcome,
    RejectReason,
    Source,
    StreamOutcome,
    StreamProtocol,
)
from riptide_telemetry.state.bucket_histogram import BucketHistogram
from riptide_telemetry.state.sliding_window import StreamTotals

if TYPE_CHECKING:
    from collections.abc import Callable


class ProtocolMetrics:
    """What is counted for one protocol; see the catalog for meanings.

    ``advance`` is ``SlidingWindow.advance``. It is called before a count of the window changes,
    except for sent and dropped messages, where it would cost too much.
    """

    __slots__ = (
        "_advance",
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

    def __init__(self, protocol: StreamProtocol, advance: Callable[[], None]) -> None:
        self._advance = advance
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
        """The number of connections that are open now."""
        # ``closed`` is read first, so that the result is never negative on another thread.
        closed = sum(self.closed.values())
        return self.opened - closed

    def totals(self) -> StreamTotals:
        """Return the totals for the sliding window."""
        # Both are read before ``opened``, so that a reader on another thread sees no ratio above 1.
        closed, errored = sum(self.closed.values()), self.errored
        return StreamTotals(
            self.opened,
            closed,
            errored,
            sum(self.reconnections.values()),
            self.sent,
            sum(self.dropped.values()),
        )

    def record_connection(self) -> None:
        """Count a connection that has opened."""
        self._advance()
        self.opened += 1

    def record_disconnection(
        self, duration_s: float, reason: CloseReason = CloseReason.CLIENT_CLOSED
    ) -> None:
        """Count a connection that closed after ``duration_s`` seconds; ignored if none is open."""
        self._advance()
        if self.active:
            self.closed[reason] += 1
            self.connection_duration.observe(duration_s)

    def record_item_sent(self, count: int = 1, size_bytes: int = 0) -> None:
        """Count messages sent, and their bytes."""
        self.sent += count
        self.sent_bytes += size_bytes

    def record_item_received(self, count: int = 1) -> None:
        """Count messages that a client sent."""
        self.received += count

    def record_item_dropped(self, reason: DropReason, count: int = 1) -> None:
        """Count messages that a consumer will not get."""
        self.dropped[reason] += count

    def record_error(self, error_type: ErrorType, *, first_of_connection: bool = True) -> None:
        """Count an error.

        The error rate counts the connection too if ``first_of_connection``: it had no other error
        in the last 5 minutes.
        """
        self._advance()
        self.errors[error_type] += 1
        self.errored += first_of_connection

    def record_reconnection(self, outcome: ReconnectionOutcome) -> None:
        """Count a consumer that gave a position to resume from."""
        self._advance()
        self.reconnections[outcome] += 1
