"""The lifecycle that records: it updates counts, writes log records and calls listeners."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from riptide_telemetry.labels import CloseReason, Source, StreamOutcome
from riptide_telemetry.recording.announcer import Announcer
from riptide_telemetry.recording.events import EventName
from riptide_telemetry.recording.guard import guarded, report_failure
from riptide_telemetry.recording.open_connection import OpenConnection
from riptide_telemetry.recording.service_recorder import ServiceRecorder
from riptide_telemetry.state.bucket_histogram import Moments
from riptide_telemetry.state.sliding_window import WINDOW_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from riptide_telemetry.batch import MessageBatch
    from riptide_telemetry.labels import (
        DropReason,
        ErrorType,
        ReconnectionOutcome,
        StreamProtocol,
    )
    from riptide_telemetry.recording.events import Listener
    from riptide_telemetry.state.streaming_metrics import StreamingMetrics
    from riptide_telemetry.traces.tracing import ConnectionTotals, Tracing

# A global: ``items_sent`` runs for each write, and an attribute of the enum is found more slowly.
_LIVE = Source.LIVE

NANOSECONDS = 1_000_000_000


class StreamLifecycleManager(ServiceRecorder):
    """Records streams. ``MessageBatch.accepted_ns`` has moments on the clock ``clock_ns``."""

    def __init__(
        self,
        metrics: StreamingMetrics,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        tracing: Tracing | None = None,
    ) -> None:
        super().__init__(metrics, tracing)
        self._clock_ns = clock_ns
        self._connections: dict[str, OpenConnection] = {}
        self._announcer = Announcer()

    def subscribe(self, listener: Listener) -> None:
        """Call the listener with every event from now on. The listener must not block."""
        self._announcer.subscribe(listener)

    def unsubscribe(self, listener: Listener) -> None:
        """Stop calling the listener."""
        self._announcer.unsubscribe(listener)

    @guarded
    def connection_established(
        self, connection_id: str, protocol: StreamProtocol, topic: str = "", traceparent: str = ""
    ) -> None:
        """Count the connection as opened and active."""
        if connection_id in self._connections:
            return
        metrics = self.metrics.by_protocol[protocol]
        self.metrics.record_connection(protocol)
        topic_metrics = self.metrics.topics.find(topic)
        if topic_metrics is not None:
            topic_metrics.active += 1
        connection = OpenConnection(metrics, self._clock_ns(), topic_metrics)
        self._connections[connection_id] = connection
        self._tracing.stream_opening(connection_id, protocol, topic, traceparent)
        self._announce(EventName.CONNECTION_ESTABLISHED, connection_id, protocol=protocol)

    @guarded
    def stream_started(self, connection_id: str, request_id: str, total_items: int | None) -> None:
        """Count the stream as active."""
        connection = self._connections.get(connection_id)
        if connection is None or not connection.start_stream(request_id, self._clock_ns()):
            return
        connection.metrics.active_streams += 1
        self._tracing.stream_opened(connection_id)
        self._announce(
            EventName.STREAM_STARTED,
            connection_id,
            request_id=request_id,
            total_items=total_items,
        )

    def items_sent(self, connection_id: str, batch: MessageBatch, source: Source) -> None:
        """Count the messages, their bytes, and the latency of each.

        This runs for each write that ``items_fanned_out`` does not record: replays, first batches,
        WebSocket frames, and all of the middleware's. It counts in the usual bucket without a call.
        """
        try:
            connection = self._connections[connection_id]
        except KeyError:
            return
        except TypeError:
            report_failure("items_sent")
            return
        try:
            metrics, count, accepted_ns = connection.metrics, batch.count, batch.accepted_ns
            metrics.sent += count
            metrics.sent_bytes += batch.size_bytes
            if connection.topic is not None:
                connection.topic.sent += count
            now = self._clock_ns()
            latency = metrics.live_latency if source is _LIVE else metrics.replay_latency
            if count == 1 and accepted_ns:
                age = now - accepted_ns[0]
                if latency.low_ns < age <= latency.high_ns:
                    latency.counts[latency.bucket] += 1
                    latency.sum_ns += age
                else:
                    latency.observe_ns(age)
            elif (
                type(accepted_ns) is Moments
                and latency.low_ns < now - accepted_ns.newest
                and now - accepted_ns.oldest <= latency.high_ns
            ):
                latency.counts[latency.bucket] += count
                latency.sum_ns += now * count - accepted_ns.total
            else:
                latency.observe_ages(now, accepted_ns)
            if batch.trace is not None:
                latency.keep_exemplar(now - accepted_ns[batch.traced], batch.trace)
                self._tracing.delivered(metrics.protocol, source, "", batch, (now,))
            if connection.awaits_first:
                connection.awaits_first = False
                metrics.time_to_first_message.observe_ns(now - connection.opened_ns)
        except Exception:  # noqa: BLE001  # as in guarded, which would cost another call
            report_failure("items_sent")

    @guarded
    def items_dropped(self, connection_id: str, reason: DropReason, count: int = 1) -> None:
        """Count the messages as dropped."""
        connection = self._connections.get(connection_id)
        if connection is None:
            return
        connection.metrics.record_item_dropped(reason, count)
        if connection.topic is not None:
            connection.topic.dropped += count
        self._announce(EventName.ITEMS_DROPPED, connection_id, reason=reason, count=count)

    @guarded
    def item_received(self, connection_id: str) -> None:
        """Count the message as received."""
        connection = self._connections.get(connection_id)
        if connection is not None:
            connection.metrics.received += 1

    @guarded
    def write_stalled(self, connection_id: str) -> None:
        """Count a backpressure event, while the write still waits."""
        connection = self._connections.get(connection_id)
        if connection is not None:
            connection.metrics.backpressure_events += 1

    @guarded
    def write_blocked(self, connection_id: str, seconds: float) -> None:
        """Observe the wait."""
        connection = self._connections.get(connection_id)
        if connection is not None:
            connection.metrics.write_wait.observe(seconds)

    @guarded
    def reconnected(self, connection_id: str, outcome: ReconnectionOutcome) -> None:
        """Count the reconnection."""
        connection = self._connections.get(connection_id)
        if connection is None:
            return
        self.metrics.record_reconnection(connection.metrics.protocol, outcome)
        self._announce(EventName.RECONNECTED, connection_id, outcome=outcome)

    @guarded
    def progress_update(
        self, connection_id: str, request_id: str, completed: int, total: int, throughput: float
    ) -> None:
        """Pass the progress on, if there is a listener."""
        if self._announcer.has_listeners and connection_id in self._connections:
            self._announce(
                EventName.PROGRESS_UPDATE,
                connection_id,
                request_id=request_id,
                completed=completed,
                total=total,
                throughput=throughput,
            )

    @guarded
    def stream_completed(
        self, connection_id: str, request_id: str, summary: Mapping[str, object] | None = None
    ) -> None:
        """Count the stream as completed."""
        if self._end_stream(connection_id, request_id, StreamOutcome.COMPLETED):
            details = {**(summary or {}), "request_id": request_id}
            trace = self._tracing.trace_of(connection_id)
            self._announcer.announce(EventName.STREAM_COMPLETED, connection_id, details, trace)

    @guarded
    def stream_cancelled(self, connection_id: str, request_id: str) -> None:
        """Count the stream as cancelled."""
        if self._end_stream(connection_id, request_id, StreamOutcome.CANCELLED):
            self._announce(EventName.STREAM_CANCELLED, connection_id, request_id=request_id)

    @guarded
    def stream_error(
        self,
        connection_id: str,
        error: ErrorType,
        recoverable: bool,  # noqa: FBT001  # public signature: callers may pass it by position
        detail: str = "",
    ) -> None:
        """Count the error; unless it is recoverable, count the open streams as failed."""
        connection = self._connections.get(connection_id)
        if connection is None:
            return
        self._record_error(connection, error)
        if not recoverable:
            connection.failed = True
            for request_id in connection.streams():
                self._end_stream(connection_id, request_id, StreamOutcome.FAILED)
        self._announce(
            EventName.STREAM_ERROR,
            connection_id,
            error=error,
            recoverable=recoverable,
            detail=detail,
        )

    @guarded
    def connection_closed(
        self, connection_id: str, reason: CloseReason, totals: ConnectionTotals | None = None
    ) -> None:
        """Count the connection as closed, and its open streams as ended with it."""
        connection = self._connections.get(connection_id)
        if connection is None:
            return
        # A misspelt reason must not leave the connection open.
        reason = CloseReason.named(reason)
        for request_id in connection.streams():
            self._end_stream(connection_id, request_id, reason.outcome)
        if reason.error_type is not None and not connection.failed:
            self._record_error(connection, reason.error_type)
        del self._connections[connection_id]
        if connection.topic is not None:
            connection.topic.active -= 1
        duration = (self._clock_ns() - connection.opened_ns) / NANOSECONDS
        self.metrics.record_disconnection(connection.metrics.protocol, duration, reason)
        self._announce(
            EventName.CONNECTION_CLOSED,
            connection_id,
            protocol=connection.metrics.protocol,
            reason=reason,
            duration_seconds=round(duration, 3),
        )
        self._tracing.stream_closed(
            connection_id, connection.metrics.protocol, reason, duration, totals
        )

    def _end_stream(self, connection_id: str, request_id: str, outcome: StreamOutcome) -> bool:
        connection = self._connections.get(connection_id)
        if connection is None:
            return False
        started_ns = connection.end_stream(request_id)
        if started_ns is None:
            return False
        metrics = connection.metrics
        metrics.active_streams -= 1
        metrics.streams_ended[outcome] += 1
        metrics.stream_duration.observe_ns(self._clock_ns() - started_ns)
        return True

    def _record_error(self, connection: OpenConnection, error: ErrorType) -> None:
        now, counted = self._clock_ns(), connection.counted_error_ns
        # The error rate counts a connection once in 5 minutes, not once in its life.
        first = counted is None or now - counted >= WINDOW_S * NANOSECONDS
        connection.metrics.record_error(error, first_of_connection=first)
        if first:
            connection.counted_error_ns = now

    def _announce(self, name: EventName, connection_id: str, **details: object) -> None:
        trace = self._tracing.trace_of(connection_id)
        self._announcer.announce(name, connection_id, details, trace)
