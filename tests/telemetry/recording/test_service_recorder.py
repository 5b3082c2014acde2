from __future__ import annotations

import time
from typing import TYPE_CHECKING

from riptide_telemetry.batch import MessageBatch
from riptide_telemetry.labels import (
    MessageOrigin,
    PublishOutcome,
    ReadingOutcome,
    RecordOutcome,
    RejectReason,
    StreamProtocol,
    TokenOutcome,
)
from riptide_telemetry.recording.lifecycle_manager import StreamLifecycleManager
from riptide_telemetry.state.streaming_metrics import StreamingMetrics
from riptide_telemetry.traces.tracing import Publishing, Tracing

if TYPE_CHECKING:
    import pytest

    from riptide_telemetry.testing import InMemoryTelemetry


def test_what_concerns_no_connection_is_counted_too(
    telemetry: InMemoryTelemetry, lifecycle: StreamLifecycleManager
) -> None:
    lifecycle.connection_rejected(StreamProtocol.SSE, RejectReason.DRAINING)
    lifecycle.messages_published(PublishOutcome.ACCEPTED, 7)
    lifecycle.log_appended(0.002)
    lifecycle.log_record(RecordOutcome.STORED, 2)
    lifecycle.log_record(RecordOutcome.CONFLICT)
    lifecycle.log_written(0.003)
    now_ns = time.monotonic_ns()
    lifecycle.log_heard(MessageOrigin.ELSEWHERE, [now_ns - 3_000_000_000, now_ns + 10**12])
    lifecycle.token_checked(TokenOutcome.EXPIRED)
    lifecycle.keys_read(ReadingOutcome.FAILED)
    value = telemetry.value
    assert value("riptide_streaming_connections_rejected_total", reason="draining") == 1
    assert value("riptide_streaming_messages_published_total", outcome="accepted") == 7
    assert value("riptide_log_append_duration_seconds") == 1
    assert value("riptide_log_records_total", outcome="stored") == 2
    assert value("riptide_log_records_total", outcome="conflict") == 1
    assert value("riptide_log_write_duration_seconds") == 1
    assert value("riptide_log_feed_latency_seconds", origin="elsewhere") == 2
    assert value("riptide_log_feed_latency_seconds", origin="here") == 0
    heard = telemetry.metrics.log_feed_latency[MessageOrigin.ELSEWHERE]
    assert 3e9 <= heard.sum_ns < 60e9, "what was accepted later than now has an age of 0"
    assert value("riptide_token_checks_total") == 1
    assert value("riptide_token_checks_total", outcome="expired") == 1
    assert value("riptide_key_readings_total", outcome="failed") == 1
    assert value("riptide_streaming_total_connections") == 0


def test_unaccounted_messages_are_counted_and_logged(
    telemetry: InMemoryTelemetry, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry.lifecycle.messages_unaccounted(0)
    assert not caplog.records
    telemetry.lifecycle.messages_unaccounted(2)
    assert telemetry.value("riptide_streaming_messages_unaccounted") == 2
    assert "2 messages" in caplog.text


def test_messages_fanned_out_count_for_each_connection_with_the_latency_of_each(
    telemetry: InMemoryTelemetry, lifecycle: StreamLifecycleManager
) -> None:
    millisecond = 1_000_000
    lifecycle.items_fanned_out(
        StreamProtocol.SSE,
        "a",
        MessageBatch(2, 300, [0, millisecond]),
        [2 * millisecond, 2 * millisecond, 40_000_000],
    )
    value = telemetry.value
    assert value("riptide_streaming_messages_sent_total", protocol="sse") == 6
    assert value("riptide_streaming_sent_bytes_total", protocol="sse") == 900
    assert value("riptide_streaming_messages_sent_total", protocol="ndjson") == 0
    latency = telemetry.metrics.sse.live_latency
    assert latency.count == 6
    assert latency.sum_ns == (2 + 1 + 2 + 1 + 40 + 39) * millisecond


def test_messages_fanned_out_count_for_their_topic_where_it_is_a_label() -> None:
    metrics = StreamingMetrics(topic_prefixes=["orders"])
    StreamLifecycleManager(metrics).items_fanned_out(
        StreamProtocol.NDJSON, "orders.eu", MessageBatch(2, 300, [1, 2]), [3, 4, 5]
    )
    assert metrics.topics.by_label["orders"].sent == 6
    assert metrics.topics.by_label["other"].sent == 0


def test_a_publish_whose_tracing_fails_goes_on_without(
    lifecycle: StreamLifecycleManager, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Tracing):
        def publishing(self, topic: str, traceparent: str) -> Publishing:
            raise RuntimeError(topic + traceparent)

    lifecycle._tracing = Broken()
    with lifecycle.publishing("orders", "") as publishing:
        assert publishing.traceparent == ""
    assert "publishing was not recorded" in caplog.text
