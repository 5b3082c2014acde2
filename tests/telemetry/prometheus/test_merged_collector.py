from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.trace import SpanContext, TraceFlags
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as open_metrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from riptide_telemetry import (
    CloseReason,
    Snapshot,
    StreamProtocol,
    catalog,
    remaining,
    start_telemetry,
)
from riptide_telemetry.labels import DropReason, ErrorType

if TYPE_CHECKING:
    import pytest
    from prometheus_client import Metric as Family

    from riptide_telemetry import Telemetry

OPEN_METRICS = "application/openmetrics-text;version=1.0.0"
SSE = StreamProtocol.SSE


def _snapshot(telemetry: Telemetry) -> Snapshot:
    telemetry.snapshots.read_gauges()
    return Snapshot.decode(telemetry.snapshots.take())


def _families(text: bytes) -> dict[str, Family]:
    return {family.name: family for family in text_string_to_metric_families(text.decode())}


def _value(families: dict[str, Family], metric: str, sample: str = "", **labels: str) -> float:
    (value,) = [
        each.value
        for each in families[metric].samples
        if each.name == (sample or metric) and each.labels == labels
    ]
    return value


def test_one_process_merged_shows_what_it_shows_by_itself_except_for_what_is_its_own() -> None:
    telemetry = start_telemetry("1.2.3", topic_prefixes=["orders"])
    telemetry.metrics.record_connection(SSE)
    telemetry.metrics.record_disconnection(SSE, 2.0)
    alone = telemetry.exposition.render().body.decode()
    whole = telemetry.merged(lambda: [_snapshot(telemetry)]).render().body.decode()

    def lines(text: str, start: str) -> list[str]:
        return [line for line in text.splitlines() if start in line]

    for start in ("riptide_", "python_info"):
        assert sorted(lines(whole, start)) == sorted(lines(alone, start)) != []
    names = {"".join(line.split()[2:3]) for line in lines(alone, "# TYPE process_")}
    assert {"".join(line.split()[2:3]) for line in lines(whole, "# TYPE process_")} == names
    assert "python_gc" not in whole
    assert "service_instance_id" in alone
    assert "service_instance_id" not in whole
    assert 'service_name="riptide"' in whole


def test_ratios_are_computed_from_all_counts_and_never_averaged() -> None:
    busy, idle, ended = (start_telemetry("1") for _ in range(3))
    for _ in range(99):
        busy.metrics.record_connection(SSE)
    busy.metrics.record_item_sent(SSE, 99)
    idle.metrics.record_connection(SSE)
    idle.metrics.record_error(SSE, ErrorType.INTERNAL)
    idle.metrics.record_item_dropped(SSE, DropReason.EXPIRED, 1)
    for _ in range(100):
        ended.metrics.record_connection(SSE)
    parts = [_snapshot(busy), _snapshot(idle)]
    whole = _families(busy.merged(lambda: parts).render().body)
    assert _value(whole, "riptide_streaming_error_rate") == 0.01
    assert _value(whole, "riptide_streaming_delivery_ratio") == 0.99
    assert _value(whole, "riptide_streaming_items_per_connection") == 0.99
    # A process that has ended counts within the window: all its connections have closed.
    parts.append(remaining(_snapshot(ended), 0.0))
    from_the_start = busy.merged(lambda: parts)
    from_the_start._registry._clock = lambda: 0.0  # type: ignore[attr-defined]  # the collector's own
    whole = _families(from_the_start.render().body)
    assert _value(whole, "riptide_streaming_error_rate") == 0.005
    assert _value(whole, "riptide_streaming_active_connections", protocol="sse") == 100
    opened = "riptide_streaming_connections_opened"
    assert _value(whole, opened, f"{opened}_total", protocol="sse") == 200


def test_exemplars_are_shown_in_open_metrics_the_newest_of_each_bucket() -> None:
    processes = [start_telemetry("1") for _ in range(2)]
    for number, telemetry in enumerate(processes, 1):
        durations = telemetry.metrics.sse.connection_duration
        telemetry.metrics.record_connection(SSE)
        telemetry.metrics.record_disconnection(SSE, 2.0, CloseReason.CLIENT_CLOSED)
        trace = SpanContext(number, 1, is_remote=False, trace_flags=TraceFlags(1))
        durations.keep_exemplar(2_000_000_000, trace)
    read = processes[0].merged(lambda: map(_snapshot, processes))
    scrape = read.render(accept=OPEN_METRICS, accept_encoding="")
    assert scrape.content_type.startswith("application/openmetrics-text")
    found = [
        sample.exemplar.labels["trace_id"]
        for family in open_metrics_families(scrape.body.decode())  # type: ignore[no-untyped-call]  # prometheus_client has no types there
        for sample in family.samples
        if sample.exemplar is not None
    ]
    assert found == [f"{2:032x}"]


def test_nothing_is_said_of_streams_if_nothing_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    telemetry = start_telemetry("1")
    families = _families(telemetry.merged(lambda: [_snapshot(telemetry)]).render().body)
    assert "process_resident_memory_bytes" in families
    assert not [name for name in families if name.startswith(("riptide", "target"))]


def test_build_info_stands_there_once_for_each_version() -> None:
    parts = [_snapshot(start_telemetry(version)) for version in ("1", "1", "2")]
    families = _families(start_telemetry("1").merged(lambda: parts).render().body)
    samples = families[catalog.BUILD_INFO.prometheus_name].samples
    assert [(sample.labels["version"], sample.value) for sample in samples] == [("1", 1), ("2", 1)]
