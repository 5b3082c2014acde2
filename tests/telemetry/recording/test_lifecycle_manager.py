from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanContext

from riptide_telemetry import MessageBatch, catalog
from riptide_telemetry.labels import (
    CloseReason,
    DropReason,
    ErrorType,
    ReconnectionOutcome,
    Source,
    StreamOutcome,
    StreamProtocol,
)
from riptide_telemetry.recording.lifecycle_manager import StreamLifecycleManager
from riptide_telemetry.state.bucket_histogram import BucketHistogram, Moments
from riptide_telemetry.state.streaming_metrics import StreamingMetrics
from riptide_telemetry.testing import ManualClock

if TYPE_CHECKING:
    from riptide_telemetry.testing import InMemoryTelemetry

NANOSECONDS = 1_000_000_000
DURATION = "riptide_streaming_connection_duration_seconds"
LATENCY = "riptide_streaming_delivery_latency_seconds"


def test_the_life_of_a_connection_reaches_every_metric_it_concerns(
    telemetry: InMemoryTelemetry, clock: ManualClock
) -> None:
    lifecycle, value = telemetry.lifecycle, telemetry.value
    lifecycle.connection_established("c", StreamProtocol.SSE)
    lifecycle.stream_started("c", "r", 4)
    lifecycle.reconnected("c", ReconnectionOutcome.GAP)
    assert value("riptide_streaming_active_connections", protocol="sse") == 1
    assert value("riptide_streaming_active_streams", protocol="sse") == 1
    clock.advance(0.2)
    lifecycle.items_sent("c", MessageBatch(3, 300, [clock.ns() - 5_000_000] * 3), Source.REPLAY)
    lifecycle.items_dropped("c", DropReason.CONFLATED, 1)
    lifecycle.item_received("c")
    lifecycle.progress_update("c", "r", 3, 4, 15.0)
    lifecycle.stream_completed("c", "r", {"messages": 3})
    clock.advance(1.8)
    lifecycle.connection_closed("c", CloseReason.COMPLETED)
    assert value("riptide_streaming_active_connections") == 0
    assert value("riptide_streaming_total_connections", protocol="sse") == 1
    assert value("riptide_streaming_connections_opened_total") == 1
    assert value("riptide_streaming_connections_closed_total", reason="completed") == 1
    assert value("riptide_streaming_reconnections_total", outcome="gap") == 1
    assert value("riptide_streaming_active_streams") == 0
    assert value("riptide_streaming_streams_ended_total", outcome="completed") == 1
    assert value("riptide_streaming_messages_sent_total", protocol="sse") == 3
    assert value("riptide_streaming_sent_bytes_total", protocol="sse") == 300
    assert value("riptide_streaming_messages_received_total") == 1
    assert value("riptide_streaming_messages_dropped_total", reason="conflated") == 1
    assert value("riptide_streaming_delivery_ratio") == 0.75
    assert value("riptide_streaming_error_rate") == 0
    assert value(LATENCY, protocol="sse", source="replay") == 3
    assert value(LATENCY, source="live") == 0
    state = telemetry.metrics.sse
    assert state.connection_duration.sum_ns == 2_000_000_000
    assert state.stream_duration.sum_ns == 200_000_000
    assert state.time_to_first_message.sum_ns == 200_000_000
    assert state.replay_latency.sum_ns == 15_000_000


def test_a_single_message_and_a_batch_have_the_latencies_of_their_messages(
    telemetry: InMemoryTelemetry, lifecycle: StreamLifecycleManager
) -> None:
    now = telemetry.clock.ns()
    lifecycle.connection_established("c", StreamProtocol.NDJSON)
    for age_ns in (2_000_000, 2_100_000, 0, 7 * 86_400 * 10**9, 2_100_000):
        lifecycle.items_sent("c", MessageBatch(1, 10, [now - age_ns]), Source.LIVE)
    lifecycle.items_sent("c", MessageBatch(2, 20, [now - 70_000_000, now - 2_000_000]), Source.LIVE)
    (point,) = [
        point
        for point in telemetry.points(LATENCY)
        if point.attributes == {"protocol": "ndjson", "source": "live"}
    ]
    filled = {
        bound: count
        for bound, count in zip(
            (*cast("Any", point).explicit_bounds, None),
            cast("Any", point).bucket_counts,
            strict=True,
        )
        if count
    }
    assert filled == {0.0001: 1, 0.0025: 4, 0.1: 1, None: 1}
    assert cast("Any", point).sum == pytest.approx(7 * 86_400 + 0.0782, abs=1e-9)


def test_a_message_accepted_in_the_future_has_no_latency(
    telemetry: InMemoryTelemetry, lifecycle: StreamLifecycleManager
) -> None:
    lifecycle.connection_established("c", StreamProtocol.SSE)
    lifecycle.items_sent("c", MessageBatch(1, 1, [telemetry.clock.ns() + 10**9]), Source.LIVE)
    assert telemetry.metrics.sse.live_latency.counts[0] == 1
    assert telemetry.metrics.sse.live_latency.sum_ns == 0


def test_only_the_first_message_of_a_connection_has_a_time_to_first_message(
    telemetry: InMemoryTelemetry, lifecycle: StreamLifecycleManager
) -> None:
    lifecycle.connection_established("c", StreamProtocol.SSE)
    telemetry.clock.advance(3)
    for _ in range(2):
        lifecycle.items_sent("c", MessageBatch(1, 1, [telemetry.clock.ns()]), Source.LIVE)
    assert telemetry.metrics.sse.time_to_first_message.count == 1
    assert telemetry.metrics.sse.time_to_first_message.sum_ns == 3 * 10**9


def test_backpressure_is_detected_by_a_blocked_write(
    telemetry: InMemoryTelemetry, lifecycle: StreamLifecycleManager
) -> None:
    lifecycle.connection_established("c", StreamProtocol.WEBSOCKET)
    lifecycle.write_stalled("c")
    events = "riptide_streaming_backpressure_events_total"
    assert telemetry.value(events, protocol="websocket") == 1
    assert telemetry.value(events, protocol="sse") == 0
    assert telemetry.metrics.websocket.write_wait.count == 0
    lifecycle.write_blocked("c", 0.25)
    assert telemetry.value(events, protocol="websocket") == 1
    assert telemetry.metrics.websocket.write_wait.sum_ns == 250_000_000


def test_a_connection_that_errs_thrice_raises_the_error_rate_once(
    telemetry: InMemoryTelemetry, lifecycle: StreamLifecycleManager
) -> None:
    for connection_id in "abcd":
        lifecycle.connection_established(connection_id, StreamProtocol.SSE)
    lifecycle.stream_error("a", ErrorType.LOG_FAILURE, recoverable=True)
    lifecycle.stream_error("a", ErrorType.INTERNAL, recoverable=True)
    lifecycle.connection_closed("a", CloseReason.INTERNAL_ERROR)
    assert telemetry.value("riptide_streaming_error_rate") == 0.25
    assert telemetry.value("riptide_streaming_health_ratio") == 0.75
    assert telemetry.value("riptide_streaming_errors_total", error_type="internal") == 2
    assert telemetry.value("riptide_streaming_errors_total", error_type="log_failure") == 1


def test_an_error_that_is_not_recoverable_fails_all_streams_of_its_connection(
    telemetry: InMemoryTelemetry, lifecycle: StreamLifecycleManager
) -> None:
    lifecycle.connection_established("c", StreamProtocol.WEBSOCKET)
    for request_id in ("one", "two", "three"):
        lifecycle.stream_started("c", request_id, None)
    lifecycle.stream_cancelled("c", "two")
    lifecycle.stream_error("c", ErrorType.INTERNAL, recoverable=False)
    lifecycle.connection_closed("c", CloseReason.INTERNAL_ERROR)
    ended = telemetry.metrics.websocket.streams_ended
    assert ended[StreamOutcome.FAILED] == 2
    assert ended[StreamOutcome.CANCELLED] == 1
    assert telemetry.metrics.websocket.active_streams == 0


@pytest.mark.parametrize("reason", CloseReason)
def test_streams_still_open_end_as_their_connection_does(
    telemetry: InMemoryTelemetry, lifecycle: StreamLifecycleManager, reason: CloseReason
) -> None:
    lifecycle.connection_established("c", StreamProtocol.SSE)
    lifecycle.stream_started("c", "r", None)
    lifecycle.connection_closed("c", reason)
    assert telemetry.value("riptide_streaming_streams_ended_total", outcome=reason.outcome) == 1
    assert telemetry.value("riptide_streaming_connections_closed_total", reason=reason) == 1
    assert telemetry.value("riptide_streaming_errors_total") == (reason.error_type is not None)


def test_closing_twice_counts_once(
    telemetry: InMemoryTelemetry, lifecycle: StreamLifecycleManager
) -> None:
    lifecycle.connection_established("c", StreamProtocol.SSE)
    for _ in range(2):
        lifecycle.connection_closed("c", CloseReason.CLIENT_CLOSED)
    assert telemetry.value("riptide_streaming_connections_closed_total") == 1
    assert telemetry.value(DURATION) == 1


def test_establishing_twice_counts_once(
    telemetry: InMemoryTelemetry, lifecycle: StreamLifecycleManager
) -> None:
    for protocol in (StreamProtocol.SSE, StreamProtocol.NDJSON):
        lifecycle.connection_established("c", protocol)
    assert telemetry.value("riptide_streaming_total_connections") == 1
    assert telemetry.value("riptide_streaming_active_connections", protocol="sse") == 1


def test_lifecycle_integration_of_100_000_messages_loses_none(
    telemetry: InMemoryTelemetry, lifecycle: StreamLifecycleManager
) -> None:
    for number in range(100):
        lifecycle.connection_established(f"c{number}", list(StreamProtocol)[number % 3])
    for _ in range(1_000):
        accepted = [telemetry.clock.ns()]
        telemetry.clock.advance(0.0001)
        for number in range(100):
            lifecycle.items_sent(f"c{number}", MessageBatch(1, 8, accepted), Source.LIVE)
    assert telemetry.value("riptide_streaming_messages_sent_total") == 100_000
    assert telemetry.value("riptide_streaming_sent_bytes_total") == 800_000
    assert telemetry.value(LATENCY, source="live") == 100_000
    assert telemetry.value("riptide_streaming_items_per_connection") == 1_000


def test_the_trace_of_the_last_message_becomes_an_exemplar_of_its_bucket(
    telemetry: InMemoryTelemetry, lifecycle: StreamLifecycleManager
) -> None:
    trace = SpanContext(trace_id=1, span_id=2, is_remote=True)
    now = telemetry.clock.ns()
    lifecycle.connection_established("c", StreamProtocol.SSE)
    lifecycle.items_sent("c", MessageBatch(1, 1, [now - 10_000]), Source.LIVE)
    lifecycle.items_sent(
        "c", MessageBatch(2, 1, [now - 30_000_000, now - 9_000_000], trace), Source.LIVE
    )
    (exemplar,) = [
        exemplar for point in telemetry.points(LATENCY) for exemplar in cast("Any", point).exemplars
    ]
    assert (exemplar.value, exemplar.trace_id, exemplar.span_id) == (0.009, 1, 2)


def test_a_connection_that_errs_again_after_the_window_counts_in_the_error_rate_again() -> None:
    clock = ManualClock()
    metrics = StreamingMetrics(clock.seconds)
    lifecycle = StreamLifecycleManager(metrics, clock.ns)
    lifecycle.connection_established("a", StreamProtocol.SSE)
    lifecycle.stream_error("a", ErrorType.INTERNAL, recoverable=True)
    lifecycle.stream_error("a", ErrorType.INTERNAL, recoverable=True)
    assert metrics.error_rate() == 1.0
    assert metrics.sse.errored == 1
    for _ in range(70):
        clock.advance(5)
        metrics.window.advance()
    assert metrics.error_rate() == 0.0
    lifecycle.stream_error("a", ErrorType.INTERNAL, recoverable=True)
    assert metrics.error_rate() == 1.0


def test_an_error_that_ends_a_connection_is_counted_once() -> None:
    metrics = StreamingMetrics()
    lifecycle = StreamLifecycleManager(metrics)
    lifecycle.connection_established("a", StreamProtocol.SSE)
    lifecycle.stream_started("a", "a-1", None)
    lifecycle.stream_error("a", ErrorType.LOG_FAILURE, recoverable=False)
    lifecycle.connection_closed("a", CloseReason.LOG_FAILURE)
    assert metrics.sse.errors[ErrorType.LOG_FAILURE] == 1


def test_unaccounted_messages_of_two_subscriptions_do_not_cancel_each_other() -> None:
    metrics = StreamingMetrics()
    lifecycle = StreamLifecycleManager(metrics)
    lifecycle.messages_unaccounted(2)
    lifecycle.messages_unaccounted(-2)
    assert metrics.unaccounted == 4


def test_batches_of_all_sizes_and_ages_are_observed_message_by_message() -> None:
    metrics = StreamingMetrics()
    clock = ManualClock()
    lifecycle = StreamLifecycleManager(metrics, clock.ns)
    lifecycle.connection_established("a", StreamProtocol.SSE)
    clock.advance(1000)
    expected = BucketHistogram(catalog.DELIVERY_LATENCY.bounds)
    for ages in ([5], [7, 6], [7, 6], [300, 7, 6], [6, 300, 7], [2_000_000, 40], [41, 40, 40], [5]):
        moments = Moments(clock.ns() - age * 1_000_000 for age in ages)
        lifecycle.items_sent("a", MessageBatch(len(ages), 10, moments), Source.LIVE)
        for age in ages:
            expected.observe_ns(age * 1_000_000)
    assert metrics.sse.live_latency.counts == expected.counts
    assert metrics.sse.live_latency.sum_ns == expected.sum_ns
    assert metrics.sse.sent == expected.count


@given(
    st.lists(
        st.tuples(st.lists(st.integers(-9_000, 9_000), min_size=1, max_size=4), st.booleans()),
        max_size=20,
    )
)
def test_no_latency_is_negative_and_no_sum_falls_however_clocks_were_set(
    batches: list[tuple[list[int], bool]],
) -> None:
    metrics, clock = StreamingMetrics(), ManualClock()
    lifecycle = StreamLifecycleManager(metrics, clock.ns)
    lifecycle.connection_established("a", StreamProtocol.SSE)
    clock.advance(10_000)
    expected = 0
    for ages, by_fan_out in batches:
        moments = Moments(clock.ns() - age * NANOSECONDS for age in ages)
        batch = MessageBatch(len(ages), 10, moments)
        if by_fan_out:
            lifecycle.items_fanned_out(StreamProtocol.SSE, "", batch, [clock.ns()])
        else:
            lifecycle.items_sent("a", batch, Source.LIVE)
        expected += sum(max(0, age) for age in ages) * NANOSECONDS
        assert metrics.sse.live_latency.sum_ns == expected


def test_one_message_is_recorded_as_a_batch_of_one() -> None:
    metrics = StreamingMetrics()
    lifecycle = StreamLifecycleManager(metrics)
    lifecycle.connection_established("a", StreamProtocol.SSE)
    lifecycle.item_sent("a", 10, 0, Source.LIVE)
    lifecycle.item_dropped("a", DropReason.EXPIRED)
    assert (metrics.sse.sent, metrics.sse.sent_bytes, metrics.sse.live_latency.count) == (1, 10, 1)
    assert metrics.sse.dropped[DropReason.EXPIRED] == 1
