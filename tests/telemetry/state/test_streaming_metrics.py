from __future__ import annotations

import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from riptide_telemetry.labels import (
    PUBLISH_FAILURES,
    CloseReason,
    DropReason,
    ErrorType,
    PublishOutcome,
    ReconnectionOutcome,
    Source,
    StreamProtocol,
)
from riptide_telemetry.state.sliding_window import WINDOW_S
from riptide_telemetry.state.streaming_metrics import StreamingMetrics
from tests.waiting import wait_until

if TYPE_CHECKING:
    from riptide_telemetry.testing import ManualClock


@pytest.fixture
def metrics(clock: ManualClock) -> StreamingMetrics:
    return StreamingMetrics(clock.seconds)


def age_out(metrics: StreamingMetrics, clock: ManualClock) -> None:
    for _ in range(2):
        clock.advance(WINDOW_S)
        metrics.window.advance()


def test_basic_tracking_of_a_connection_and_its_messages(metrics: StreamingMetrics) -> None:
    metrics.record_connection(StreamProtocol.SSE)
    metrics.record_item_sent(StreamProtocol.SSE, 3, 300)
    metrics.record_item_received(StreamProtocol.SSE)
    assert (metrics.sse.opened, metrics.sse.active) == (1, 1)
    assert (metrics.sse.sent, metrics.sse.sent_bytes, metrics.sse.received) == (3, 300, 1)
    metrics.record_disconnection(StreamProtocol.SSE, 2.5)
    assert (metrics.sse.opened, metrics.sse.active) == (1, 0)
    assert metrics.sse.closed[CloseReason.CLIENT_CLOSED] == 1
    assert metrics.sse.connection_duration.data_point({}, 0, 0).sum == 2.5


def test_per_protocol_aliases_are_the_same_objects_as_the_mapping_has(
    metrics: StreamingMetrics,
) -> None:
    assert metrics.ndjson is metrics.by_protocol[StreamProtocol.NDJSON]
    assert metrics.sse is metrics.by_protocol[StreamProtocol.SSE]
    assert metrics.websocket is metrics.by_protocol[StreamProtocol.WEBSOCKET]
    for protocol, state in metrics.by_protocol.items():
        assert state.protocol is protocol
        assert state.latency == {
            Source.LIVE: state.live_latency,
            Source.REPLAY: state.replay_latency,
        }


def test_protocols_are_counted_apart(metrics: StreamingMetrics) -> None:
    metrics.record_item_sent(StreamProtocol.NDJSON)
    metrics.record_item_sent(StreamProtocol.WEBSOCKET, 2)
    assert (metrics.ndjson.sent, metrics.sse.sent, metrics.websocket.sent) == (1, 0, 2)


def test_delivery_ratio_is_sent_of_attempted(metrics: StreamingMetrics) -> None:
    metrics.record_item_sent(StreamProtocol.SSE, 75)
    metrics.record_item_dropped(StreamProtocol.WEBSOCKET, DropReason.SLOW_CONSUMER, 25)
    assert metrics.delivery_ratio() == 0.75


def test_error_rate_and_health_ratio_are_shares_of_connections(metrics: StreamingMetrics) -> None:
    for _ in range(4):
        metrics.record_connection(StreamProtocol.SSE)
    metrics.record_error(StreamProtocol.SSE, ErrorType.INTERNAL)
    assert metrics.error_rate() == 0.25
    assert metrics.health_ratio() == 0.75


@pytest.mark.parametrize("outcome", PUBLISH_FAILURES)
def test_health_is_the_share_of_publishes_that_were_kept_where_that_is_smaller(
    metrics: StreamingMetrics, clock: ManualClock, outcome: PublishOutcome
) -> None:
    metrics.published[PublishOutcome.ACCEPTED] += 3
    metrics.published[outcome] += 1
    assert (metrics.health_ratio(), metrics.error_rate()) == (0.75, 0.0)
    metrics.record_connection(StreamProtocol.SSE)
    metrics.record_error(StreamProtocol.SSE, ErrorType.INTERNAL)
    assert (metrics.health_ratio(), metrics.error_rate()) == (0.0, 1.0)
    metrics.record_disconnection(StreamProtocol.SSE, 1)
    age_out(metrics, clock)
    assert metrics.health_ratio() == 1.0


@pytest.mark.parametrize(
    "outcome", [outcome for outcome in PublishOutcome if outcome not in PUBLISH_FAILURES]
)
def test_publishes_that_are_refused_for_the_publishers_fault_or_by_a_limit_are_no_failures(
    metrics: StreamingMetrics, outcome: PublishOutcome
) -> None:
    metrics.published[outcome] += 5
    assert metrics.health_ratio() == 1.0


def test_further_errors_of_a_connection_do_not_raise_the_error_rate(
    metrics: StreamingMetrics,
) -> None:
    for _ in range(2):
        metrics.record_connection(StreamProtocol.SSE)
    metrics.record_error(StreamProtocol.SSE, ErrorType.PROTOCOL)
    metrics.record_error(StreamProtocol.SSE, ErrorType.PROTOCOL, first_of_connection=False)
    assert metrics.error_rate() == 0.5
    assert metrics.sse.errors[ErrorType.PROTOCOL] == 2


def test_connections_opened_long_ago_still_share_in_the_error_rate(
    metrics: StreamingMetrics, clock: ManualClock
) -> None:
    for _ in range(10):
        metrics.record_connection(StreamProtocol.WEBSOCKET)
    age_out(metrics, clock)
    metrics.record_error(StreamProtocol.WEBSOCKET, ErrorType.INTERNAL)
    assert metrics.error_rate() == 0.1


def test_reconnection_rate_is_reconnections_per_connection(metrics: StreamingMetrics) -> None:
    for _ in range(4):
        metrics.record_connection(StreamProtocol.SSE)
    metrics.record_reconnection(StreamProtocol.SSE, ReconnectionOutcome.RESUMED)
    assert metrics.reconnection_rate() == 0.25


def test_reconnection_rate_never_exceeds_one(metrics: StreamingMetrics) -> None:
    metrics.record_connection(StreamProtocol.WEBSOCKET)
    for _ in range(3):
        metrics.record_reconnection(StreamProtocol.WEBSOCKET, ReconnectionOutcome.GAP)
    assert metrics.reconnection_rate() == 1.0


def test_average_items_per_connection_counts_open_and_closed_ones(
    metrics: StreamingMetrics,
) -> None:
    metrics.record_connection(StreamProtocol.SSE)
    metrics.record_connection(StreamProtocol.NDJSON)
    metrics.record_disconnection(StreamProtocol.NDJSON, 1)
    metrics.record_item_sent(StreamProtocol.SSE, 10)
    assert metrics.average_items_per_connection() == 5.0


def test_ratios_of_nothing_are_defined_and_divide_by_nothing(metrics: StreamingMetrics) -> None:
    assert metrics.error_rate() == 0.0
    assert metrics.health_ratio() == 1.0
    assert metrics.delivery_ratio() == 1.0
    assert metrics.reconnection_rate() == 0.0
    assert metrics.average_items_per_connection() == 0.0


def test_ratios_stay_defined_when_only_errors_and_drops_were_recorded(
    metrics: StreamingMetrics,
) -> None:
    metrics.record_error(StreamProtocol.SSE, ErrorType.INTERNAL)
    metrics.record_reconnection(StreamProtocol.SSE, ReconnectionOutcome.RESET)
    metrics.record_item_dropped(StreamProtocol.SSE, DropReason.EXPIRED)
    assert metrics.error_rate() == 0.0
    assert metrics.reconnection_rate() == 0.0
    assert metrics.delivery_ratio() == 0.0


def test_ratios_forget_what_has_left_the_window(
    metrics: StreamingMetrics, clock: ManualClock
) -> None:
    metrics.record_connection(StreamProtocol.SSE)
    metrics.record_error(StreamProtocol.SSE, ErrorType.INTERNAL)
    metrics.record_item_dropped(StreamProtocol.SSE, DropReason.CONFLATED, 5)
    assert (metrics.error_rate(), metrics.delivery_ratio()) == (1.0, 0.0)
    age_out(metrics, clock)
    assert (metrics.error_rate(), metrics.delivery_ratio()) == (0.0, 1.0)
    assert metrics.sse.dropped[DropReason.CONFLATED] == 5


def test_a_disconnection_without_a_connection_is_not_counted(metrics: StreamingMetrics) -> None:
    metrics.record_disconnection(StreamProtocol.SSE, 1.0)
    assert metrics.sse.active == 0
    assert metrics.sse.connection_duration.count == 0


def test_100_000_operations_under_load_are_all_counted(metrics: StreamingMetrics) -> None:
    protocols = list(StreamProtocol)
    for operation in range(100_000):
        protocol = protocols[operation % 3]
        match operation % 10:
            case 0:
                metrics.record_connection(protocol)
            case 1:
                metrics.record_item_dropped(protocol, DropReason.SLOW_CONSUMER)
            case _:
                metrics.record_item_sent(protocol, 1, 10)
    states = metrics.by_protocol.values()
    assert sum(state.opened for state in states) == 10_000
    assert sum(state.dropped[DropReason.SLOW_CONSUMER] for state in states) == 10_000
    assert sum(state.sent for state in states) == 80_000
    assert sum(state.sent_bytes for state in states) == 800_000
    assert metrics.delivery_ratio() == 8 / 9


def test_connections_seen_from_another_thread_are_never_negative_and_ratios_stay_in_bounds(
    metrics: StreamingMetrics,
) -> None:
    wrong: list[float] = []
    looks = Counter[int]()
    stop = threading.Event()

    def watch(number: int) -> None:
        while not stop.is_set():
            ratios = (metrics.error_rate(), metrics.health_ratio(), metrics.reconnection_rate())
            seen = [metrics.sse.active, *ratios, metrics.average_items_per_connection()]
            if min(seen) < 0 or max(ratios) > 1:
                wrong.extend(seen)
            looks[number] += 1

    def come_and_go_often() -> bool:
        """Return whether both watchers have looked often enough meanwhile."""
        for _ in range(5_000):
            metrics.record_connection(StreamProtocol.SSE)
            metrics.record_disconnection(StreamProtocol.SSE, 0.1)
        return min(looks[0], looks[1]) >= 100

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        watchers = [threading.Thread(target=watch, args=[number]) for number in range(2)]
        for watcher in watchers:
            watcher.start()
        wait_until(come_and_go_often, pause_s=0)
    finally:
        stop.set()
        sys.setswitchinterval(interval)
    for watcher in watchers:
        watcher.join()
    assert wrong == []
