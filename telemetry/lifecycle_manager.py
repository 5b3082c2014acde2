"""Turns what happens to streams into numbers, log records and events for listeners."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from telemetry.events import Event, EventName
from telemetry.labels import ErrorType, Source, StreamOutcome
from telemetry.lifecycle import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from telemetry.events import Listener
    from telemetry.labels import (
        CloseReason,
        DropReason,
        Protocol,
        PublishOutcome,
        ReconnectionOutcome,
        RejectReason,
    )
    from telemetry.streaming_metrics import ProtocolMetrics, StreamingMetrics

logger = logging.getLogger("riptide.stream")

NANOSECONDS = 1_000_000_000


class _Connection:
    """What has to be remembered of an open connection; most carry one stream."""

    __slots__ = ("awaits_first", "errored", "metrics", "opened_ns", "protocol", "streams")

    def __init__(self, protocol: Protocol, metrics: ProtocolMetrics, opened_ns: int) -> None:
        self.protocol = protocol
        self.metrics = metrics
        self.opened_ns = opened_ns
        self.awaits_first = True
        self.errored = False
        # Pairs of request id and start: few, so a tuple finds them and costs next to nothing.
        self.streams: tuple[tuple[str, int], ...] = ()


class StreamLifecycleManager(Lifecycle):
    """Records streams from their events. ``clock_ns`` is the one of ``accepted_ns``."""

    def __init__(
        self, metrics: StreamingMetrics, clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.metrics = metrics
        self._clock_ns = clock_ns
        self._connections: dict[str, _Connection] = {}
        self._listeners: tuple[Listener, ...] = ()

    def subscribe(self, listener: Listener) -> None:
        """Call the listener with every event from now on; it must not block."""
        self._listeners = (*self._listeners, listener)

    def unsubscribe(self, listener: Listener) -> None:
        """Stop calling the listener."""
        self._listeners = tuple(other for other in self._listeners if other != listener)

    def connection_established(self, connection_id: str, protocol: Protocol) -> None:
        """Count the connection as opened and active."""
        if connection_id in self._connections:
            return
        metrics = self.metrics.by_protocol[protocol]
        self._connections[connection_id] = _Connection(protocol, metrics, self._clock_ns())
        self.metrics.record_connection(protocol)
        self._tell(EventName.CONNECTION_ESTABLISHED, connection_id, protocol=protocol)

    def stream_started(self, connection_id: str, request_id: str, total_items: int | None) -> None:
        """Count the stream as active."""
        connection = self._connections.get(connection_id)
        if connection is None:
            return
        connection.streams += ((request_id, self._clock_ns()),)
        connection.metrics.active_streams += 1
        self._tell(
            EventName.STREAM_STARTED,
            connection_id,
            request_id=request_id,
            total_items=total_items,
        )

    def items_sent(
        self,
        connection_id: str,
        count: int,
        size_bytes: int,
        accepted_ns: Sequence[int],
        source: Source,
    ) -> None:
        """Count the messages, their bytes, and the latency of each."""
        connection = self._connections.get(connection_id)
        if connection is None:
            return
        metrics = connection.metrics
        metrics.sent += count
        metrics.sent_bytes += size_bytes
        now = self._clock_ns()
        if source is Source.LIVE:
            metrics.live_latency.observe_ages(now, accepted_ns)
        else:
            metrics.replay_latency.observe_ages(now, accepted_ns)
        if connection.awaits_first:
            connection.awaits_first = False
            metrics.time_to_first_message.observe((now - connection.opened_ns) / NANOSECONDS)

    def items_dropped(self, connection_id: str, reason: DropReason, count: int = 1) -> None:
        """Count the messages as dropped."""
        connection = self._connections.get(connection_id)
        if connection is None:
            return
        self.metrics.record_item_dropped(connection.protocol, reason, count)
        self._tell(EventName.ITEMS_DROPPED, connection_id, reason=reason, count=count)

    def item_received(self, connection_id: str) -> None:
        """Count the message as received."""
        connection = self._connections.get(connection_id)
        if connection is not None:
            connection.metrics.received += 1

    def write_blocked(self, connection_id: str, seconds: float) -> None:
        """Count the event and the wait."""
        connection = self._connections.get(connection_id)
        if connection is not None:
            connection.metrics.backpressure_events += 1
            connection.metrics.write_wait.observe(seconds)

    def reconnected(self, connection_id: str, outcome: ReconnectionOutcome) -> None:
        """Count the reconnection."""
        connection = self._connections.get(connection_id)
        if connection is None:
            return
        self.metrics.record_reconnection(connection.protocol, outcome)
        self._tell(EventName.RECONNECTED, connection_id, outcome=outcome)

    def progress_update(
        self, connection_id: str, request_id: str, completed: int, total: int, throughput: float
    ) -> None:
        """Tell the listeners."""
        if self._listeners and connection_id in self._connections:
            self._tell(
                EventName.PROGRESS_UPDATE,
                connection_id,
                request_id=request_id,
                completed=completed,
                total=total,
                throughput=throughput,
            )

    def stream_completed(
        self, connection_id: str, request_id: str, summary: Mapping[str, object] | None = None
    ) -> None:
        """Count the stream as ended whole."""
        if self._end_stream(connection_id, request_id, StreamOutcome.COMPLETED):
            self._tell(
                EventName.STREAM_COMPLETED, connection_id, request_id=request_id, **summary or {}
            )

    def stream_cancelled(self, connection_id: str, request_id: str) -> None:
        """Count the stream as given up."""
        if self._end_stream(connection_id, request_id, StreamOutcome.CANCELLED):
            self._tell(EventName.STREAM_CANCELLED, connection_id, request_id=request_id)

    def stream_error(
        self, connection_id: str, error: ErrorType, *, recoverable: bool, detail: str = ""
    ) -> None:
        """Count the error; unless it is recoverable, count the open streams as failed."""
        connection = self._connections.get(connection_id)
        if connection is None:
            return
        self._record_error(connection, error)
        if not recoverable:
            for request_id, _ in connection.streams:
                self._end_stream(connection_id, request_id, StreamOutcome.FAILED)
        self._tell(
            EventName.STREAM_ERROR,
            connection_id,
            error=error,
            recoverable=recoverable,
            detail=detail,
        )

    def connection_closed(self, connection_id: str, reason: CloseReason) -> None:
        """Count the connection as closed, and the streams it still carried as ended with it."""
        connection = self._connections.get(connection_id)
        if connection is None:
            return
        for request_id, _ in connection.streams:
            self._end_stream(connection_id, request_id, reason.outcome)
        if reason.error_type is not None:
            self._record_error(connection, reason.error_type)
        del self._connections[connection_id]
        duration = (self._clock_ns() - connection.opened_ns) / NANOSECONDS
        self.metrics.record_disconnection(connection.protocol, duration, reason)
        self._tell(
            EventName.CONNECTION_CLOSED,
            connection_id,
            protocol=connection.protocol,
            reason=reason,
            duration_seconds=round(duration, 3),
        )

    def connection_rejected(self, protocol: Protocol, reason: RejectReason) -> None:
        """Count the refusal; it never was a connection."""
        self.metrics.by_protocol[protocol].rejected[reason] += 1

    def messages_published(self, outcome: PublishOutcome, count: int) -> None:
        """Count the messages by what became of them."""
        self.metrics.published[outcome] += count

    def log_appended(self, seconds: float) -> None:
        """Count the duration."""
        self.metrics.log_append_duration.observe(seconds)

    def messages_unaccounted(self, count: int) -> None:
        """Add to a sum that should stay 0."""
        if count:
            self.metrics.unaccounted += count
            logger.error("%d messages of a subscription are unaccounted for", count)

    def _end_stream(self, connection_id: str, request_id: str, outcome: StreamOutcome) -> bool:
        connection = self._connections.get(connection_id)
        if connection is None:
            return False
        for stream in connection.streams:
            if stream[0] == request_id:
                metrics = connection.metrics
                metrics.active_streams -= 1
                metrics.streams_ended[outcome] += 1
                metrics.stream_duration.observe((self._clock_ns() - stream[1]) / NANOSECONDS)
                connection.streams = tuple(s for s in connection.streams if s is not stream)
                return True
        return False

    def _record_error(self, connection: _Connection, error: ErrorType) -> None:
        first = not connection.errored
        connection.errored = True
        self.metrics.record_error(connection.protocol, error, first_of_connection=first)

    def _tell(self, name: EventName, connection_id: str, **details: object) -> None:
        """Write one log record, and call the listeners; what goes wrong there stays there."""
        level = logging.WARNING if name is EventName.STREAM_ERROR else logging.DEBUG
        if logger.isEnabledFor(level):
            text = " ".join(f"{key}={value}" for key, value in details.items())
            extra = {
                "connection_id": connection_id,
                **{f"stream.{k}": v for k, v in details.items()},
            }
            logger.log(level, "%s connection_id=%s %s", name, connection_id, text, extra=extra)
        for listener in self._listeners:
            try:
                listener(Event(name, connection_id, details))
            except Exception:
                logger.exception("a listener failed on %s", name)
