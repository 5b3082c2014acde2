"""Records what concerns the service rather than a single connection."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from riptide_telemetry.labels import PublishOutcome, Source
from riptide_telemetry.lifecycle import Lifecycle
from riptide_telemetry.recording.guard import guarded, report_failure
from riptide_telemetry.traces.tracing import Publishing, Tracing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from riptide_telemetry.batch import MessageBatch
    from riptide_telemetry.labels import (
        MessageOrigin,
        ReadingOutcome,
        RecordOutcome,
        RejectReason,
        ServicePart,
        StreamProtocol,
        TokenOutcome,
    )
    from riptide_telemetry.state.streaming_metrics import StreamingMetrics

logger = logging.getLogger("riptide.stream")


class ServiceRecorder(Lifecycle):
    """The calls of ``Lifecycle`` that need no open connection."""

    def __init__(self, metrics: StreamingMetrics, tracing: Tracing | None = None) -> None:
        self.metrics = metrics
        self._tracing = tracing or Tracing()

    @guarded
    def connection_rejected(self, protocol: StreamProtocol, reason: RejectReason) -> None:
        """Count the refusal. It does not count as a connection."""
        self.metrics.by_protocol[protocol].rejected[reason] += 1

    def publishing(self, topic: str, traceparent: str) -> Publishing:
        """Begin the span of a publish. If that fails, the publish has none."""
        try:
            return self._tracing.publishing(topic, traceparent)
        except Exception:  # noqa: BLE001  # as in guarded, whose functions return nothing
            report_failure("publishing")
            return Publishing("")

    @guarded
    def messages_published(self, outcome: PublishOutcome, count: int, topic: str = "") -> None:
        """Count the messages by outcome, and accepted ones by topic as well."""
        self.metrics.published[outcome] += count
        if outcome is PublishOutcome.ACCEPTED:
            topic_metrics = self.metrics.topics.find(topic)
            if topic_metrics is not None:
                topic_metrics.published += count

    @guarded
    def items_fanned_out(
        self,
        protocol: StreamProtocol,
        topic: str,
        batch: MessageBatch,
        written_ns: Sequence[int],
    ) -> None:
        """Count the messages, their bytes and latencies for all connections at once."""
        metrics = self.metrics.by_protocol[protocol]
        connection_count, accepted_ns = len(written_ns), batch.accepted_ns
        sent_count = batch.count * connection_count
        metrics.sent += sent_count
        metrics.sent_bytes += batch.size_bytes * connection_count
        topic_metrics = self.metrics.topics.find(topic)
        if topic_metrics is not None:
            topic_metrics.sent += sent_count
        metrics.live_latency.observe_all_ages(written_ns, accepted_ns)
        if batch.trace is not None:
            latency_ns = written_ns[-1] - accepted_ns[batch.traced]
            metrics.live_latency.keep_exemplar(latency_ns, batch.trace)
            self._tracing.delivered(protocol, Source.LIVE, topic, batch, written_ns)

    @guarded
    def log_appended(self, seconds: float) -> None:
        """Observe the duration."""
        self.metrics.log_append_duration.observe(seconds)

    @guarded
    def log_record(self, outcome: RecordOutcome, count: int = 1) -> None:
        """Count the records."""
        self.metrics.log_records[outcome] += count

    @guarded
    def log_written(self, seconds: float) -> None:
        """Observe the duration."""
        self.metrics.log_write_duration.observe(seconds)

    @guarded
    def log_heard(self, origin: MessageOrigin, accepted_ns: Sequence[int]) -> None:
        """Observe the age of each message."""
        self.metrics.log_feed_latency[origin].observe_ages(time.monotonic_ns(), accepted_ns)

    @guarded
    def part_failed(self, part: ServicePart) -> None:
        """Count the fault."""
        self.metrics.faults[part] += 1

    @guarded
    def token_checked(self, outcome: TokenOutcome) -> None:
        """Count the check."""
        self.metrics.token_checks[outcome] += 1

    @guarded
    def keys_read(self, outcome: ReadingOutcome) -> None:
        """Count the reading."""
        self.metrics.key_readings[outcome] += 1

    @guarded
    def messages_unaccounted(self, count: int) -> None:
        """Add to a sum that should stay 0, and log an error if it does not."""
        if count:
            # Too many in one subscription must not cancel too few in another.
            self.metrics.unaccounted += abs(count)
            logger.error("%d messages of a subscription are unaccounted for", count)
