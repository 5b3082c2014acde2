"""The counts of one protocol, recorded by hand."""

from __future__ import annotations

import pytest

from riptide_telemetry.labels import (
    CloseReason,
    DropReason,
    ErrorType,
    ReconnectionOutcome,
    StreamProtocol,
)
from riptide_telemetry.state.protocol_metrics import ProtocolMetrics
from riptide_telemetry.state.streaming_metrics import StreamingMetrics


@pytest.mark.parametrize("protocol", StreamProtocol)
def test_per_protocol_aliases_record_what_the_whole_records_with_the_protocol_named(
    protocol: StreamProtocol,
) -> None:
    by_name, by_alias = StreamingMetrics(), StreamingMetrics()
    by_name.record_connection(protocol)
    by_name.record_item_sent(protocol, 3, 30)
    by_name.record_item_received(protocol)
    by_name.record_item_dropped(protocol, DropReason.EXPIRED, 2)
    by_name.record_error(protocol, ErrorType.INTERNAL)
    by_name.record_reconnection(protocol, ReconnectionOutcome.GAP)
    by_name.record_disconnection(protocol, 1.5, CloseReason.DRAINING)
    alias: ProtocolMetrics = getattr(by_alias, str(protocol))
    alias.record_connection()
    alias.record_item_sent(3, 30)
    alias.record_item_received()
    alias.record_item_dropped(DropReason.EXPIRED, 2)
    alias.record_error(ErrorType.INTERNAL)
    alias.record_reconnection(ReconnectionOutcome.GAP)
    alias.record_disconnection(1.5, CloseReason.DRAINING)
    named = by_name.by_protocol[protocol]
    assert alias.totals() == named.totals()
    assert alias.closed == named.closed
    assert (alias.sent, alias.sent_bytes, alias.received) == (3, 30, 1)
    assert alias.connection_duration.counts == named.connection_duration.counts
    others = [metrics for metrics in by_alias.by_protocol.values() if metrics is not alias]
    assert all(not any(metrics.totals()) for metrics in others)


def test_what_the_window_counts_advances_it_first() -> None:
    advanced: list[int] = []
    metrics = ProtocolMetrics(StreamProtocol.SSE, lambda: advanced.append(metrics.opened))
    metrics.record_connection()
    metrics.record_connection()
    assert advanced == [0, 1]


def test_a_disconnection_without_a_connection_is_ignored() -> None:
    metrics = ProtocolMetrics(StreamProtocol.SSE, lambda: None)
    metrics.record_disconnection(1.0)
    assert metrics.active == 0
    assert metrics.connection_duration.count == 0
