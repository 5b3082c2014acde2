from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.trace import SpanContext, TraceFlags

from riptide_telemetry import CloseReason, ServicePart, StreamProtocol, catalog, start_telemetry
from riptide_telemetry.catalog import Merge
from riptide_telemetry.merging.snapshot import Snapshot, written

if TYPE_CHECKING:
    from riptide_telemetry import Telemetry

SSE = "protocol=sse"
CPU = "process_cpu_nanoseconds"


@pytest.fixture
def telemetry() -> Telemetry:
    return start_telemetry("1.2.3", topic_prefixes=["orders"])


def _taken(telemetry: Telemetry) -> Snapshot:
    return Snapshot.decode(telemetry.snapshots.take())


def test_a_snapshot_has_every_series_of_the_catalog_except_for_ratios(
    telemetry: Telemetry,
) -> None:
    telemetry.snapshots.read_gauges()
    snapshot = _taken(telemetry)
    everything: dict[str, dict[str, Any]]
    everything = {**snapshot.gauges, **snapshot.counts, **snapshot.histograms}
    for definition in catalog.CATALOG:
        if definition.merge is Merge.RATIO:
            assert definition.name not in everything
            continue
        series = everything[definition.name].keys()
        if definition is catalog.BUILD_INFO:
            assert series == {"version=1.2.3"}
        elif "topic" in [label.key for label in definition.labels]:
            assert series == {"topic=orders", "topic=other"}
        else:
            assert series == {written(labels) for labels in definition.label_sets()}
    assert snapshot.counts[CPU][""] > 0
    assert snapshot.gauges["process_resident_memory_bytes"][""] > 0


def test_counts_are_those_of_the_moment_and_gauges_and_exemplars_those_of_their_reading(
    telemetry: Telemetry,
) -> None:
    lag = 1.5
    telemetry.observe({catalog.EVENT_LOOP_LAG: lambda: lag})
    telemetry.snapshots.read_gauges()
    metrics, lag = telemetry.metrics, 2.5
    metrics.record_connection(StreamProtocol.SSE)
    metrics.record_connection(StreamProtocol.SSE)
    metrics.record_item_sent(StreamProtocol.SSE, 3, 30)
    metrics.record_disconnection(StreamProtocol.SSE, 2.0, CloseReason.CLIENT_CLOSED)
    trace = SpanContext(5, 6, is_remote=False, trace_flags=TraceFlags(1))
    metrics.sse.connection_duration.keep_exemplar(2_000_000_000, trace)
    snapshot = _taken(telemetry)
    assert snapshot.counts[catalog.ACTIVE_CONNECTIONS.name][SSE] == 1
    assert snapshot.counts[catalog.MESSAGES_SENT.name][SSE] == 3
    assert snapshot.gauges[catalog.EVENT_LOOP_LAG.name][""] == 1.5
    duration = snapshot.histograms[catalog.CONNECTION_DURATION.name][SSE]
    assert (sum(duration.counts), duration.sum_ns) == (1, 2_000_000_000)
    assert duration.exemplars == {}
    assert (snapshot.window.opened, snapshot.window.closed) == (2, 1)
    telemetry.snapshots.read_gauges()
    snapshot = _taken(telemetry)
    assert snapshot.gauges[catalog.EVENT_LOOP_LAG.name][""] == 2.5
    duration = snapshot.histograms[catalog.CONNECTION_DURATION.name][SSE]
    ((bucket, (value, _, trace_id, span_id)),) = duration.exemplars.items()
    assert duration.counts[int(bucket)] == 1
    assert (value, trace_id, span_id) == (2.0, 5, 6)


def test_a_count_that_cannot_be_read_for_a_while_stays_where_it_was(telemetry: Telemetry) -> None:
    works = True

    def dropped() -> int:
        if works:
            return 7
        raise LookupError

    telemetry.observe({catalog.LOG_RECORDS_DROPPED: dropped})
    for works in (True, False, True):  # noqa: B007  # the function reads it
        numbers = _taken(telemetry).counts[catalog.LOG_RECORDS_DROPPED.name]
        assert numbers == {"": 7}


def test_faults_that_another_process_has_counted_can_be_left_out(telemetry: Telemetry) -> None:
    def faults() -> dict[str, int]:
        return _taken(telemetry).counts[catalog.FAULTS.name]

    telemetry.lifecycle.part_failed(ServicePart.DRAIN)
    assert faults()["part=drain"] == 1
    telemetry.snapshots.leave_out_earlier_faults()
    assert set(faults().values()) == {0}
    telemetry.lifecycle.part_failed(ServicePart.DRAIN)
    assert faults()["part=drain"] == 1
    assert telemetry.metrics.faults[ServicePart.DRAIN] == 2


def test_nothing_is_in_it_but_the_process_if_nothing_is_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    snapshots = start_telemetry("1.2.3").snapshots
    snapshots.read_gauges()
    snapshot = Snapshot.decode(snapshots.take())
    assert snapshot.histograms == {}
    assert {name.partition("_")[0] for name in (*snapshot.gauges, *snapshot.counts)} == {"process"}
