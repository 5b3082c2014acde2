from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.metrics.export import NumberDataPoint

from riptide_telemetry import catalog
from riptide_telemetry.catalog import CATALOG, Kind, MetricDefinition
from riptide_telemetry.labels import LagBound, Signal

if TYPE_CHECKING:
    from riptide_telemetry.testing import InMemoryTelemetry


# Metrics by topic have series only with an allow-list: see test_topic_metrics.
LABELLED = [each for each in CATALOG if each.label_sets()]


@pytest.mark.parametrize("definition", LABELLED, ids=lambda definition: str(definition.name))
def test_all_label_sets_exist_at_zero_from_the_first_collection(
    telemetry: InMemoryTelemetry, definition: MetricDefinition
) -> None:
    points = telemetry.points(definition.name)
    if definition is catalog.BUILD_INFO:
        assert [point.attributes for point in points] == [{"version": "test"}]
        return
    found = sorted(sorted((point.attributes or {}).items()) for point in points)
    assert found == sorted(sorted(labels.items()) for labels in definition.label_sets())
    rests_at = 1 if definition in {catalog.DELIVERY_RATIO, catalog.HEALTH_RATIO} else 0
    assert telemetry.value(definition.name) == rests_at


def test_a_gauge_is_read_from_its_owner(telemetry: InMemoryTelemetry) -> None:
    sizes = iter([10, 20])
    telemetry.instruments.observe({catalog.MEMORY_USAGE: lambda: next(sizes)})
    assert telemetry.value("riptide_streaming_memory_usage_bytes") == 10
    assert telemetry.value("riptide_streaming_memory_usage_bytes") == 20


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), None, "much"])
def test_a_gauge_that_cannot_be_shown_is_left_out_alone_and_logged_once(
    telemetry: InMemoryTelemetry, caplog: pytest.LogCaptureFixture, broken: float
) -> None:
    values = [broken, broken, 7, broken]
    telemetry.instruments.observe({catalog.MEMORY_USAGE: lambda: values.pop(0)})
    for shown in ([], [], [7]):
        assert [p.value for p in telemetry.points("riptide.streaming.memory_usage")] == shown  # type: ignore[union-attr]  # a gauge's points are numbers
    assert len(caplog.records) == 1
    assert telemetry.value("riptide.topics") == 0
    # Collecting read the gauge a fourth time: it failed again, after it had worked.
    assert len(caplog.records) == 2


def test_an_owner_that_raises_costs_its_own_gauge_only(
    telemetry: InMemoryTelemetry, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry.instruments.observe({catalog.LOG_SIZE: lambda: 1 // 0, catalog.TOPICS: lambda: 3})
    assert telemetry.points("riptide.log.size") == []
    assert telemetry.value("riptide.topics") == 3
    assert caplog.messages == ["riptide.log.size could not be read"]


def test_a_counter_may_be_read_from_its_owner(telemetry: InMemoryTelemetry) -> None:
    assert telemetry.value(catalog.LOG_RECORDS_DROPPED.name) == 0
    telemetry.instruments.observe({catalog.LOG_RECORDS_DROPPED: lambda: 7})
    assert telemetry.value(catalog.LOG_RECORDS_DROPPED.name) == 7
    telemetry.instruments.observe({catalog.LOG_GAPS: lambda: {"number": 1, "sweep": 2}})
    assert telemetry.value(catalog.LOG_GAPS.name, found_by="sweep") == 2
    assert telemetry.value(catalog.LOG_GAPS.name, found_by="reconnect") == 0


@pytest.mark.parametrize(
    "definition", [catalog.MESSAGES_DROPPED, catalog.WRITE_WAIT, catalog.EXPORT_ENABLED]
)
def test_only_gauges_and_counters_with_one_label_at_most_can_be_provided_by_owners(
    telemetry: InMemoryTelemetry, definition: MetricDefinition
) -> None:
    with pytest.raises(ValueError, match="is not a gauge"):
        telemetry.instruments.observe({definition: lambda: 1})


def test_every_metric_that_is_not_a_histogram_is_an_instrument(
    telemetry: InMemoryTelemetry,
) -> None:
    produced = {metric.name for metric in telemetry.instruments.producer.produce().metrics}
    assert produced == {each.name for each in CATALOG if each.kind is Kind.HISTOGRAM}


def test_a_truth_value_is_a_number(telemetry: InMemoryTelemetry) -> None:
    telemetry.instruments.observe({catalog.DRAINING: lambda: True})
    (point,) = telemetry.points(catalog.DRAINING.name)
    assert isinstance(point, NumberDataPoint)
    assert type(point.value) is int


def test_what_is_exported_shows_by_signal_from_the_start(telemetry: InMemoryTelemetry) -> None:
    for definition in (
        catalog.EXPORT_ENABLED,
        catalog.EXPORT_FAILURES,
        catalog.EXPORT_LAST_SUCCESS,
        catalog.EXPORT_QUEUE_SIZE,
    ):
        for signal in Signal:
            assert telemetry.value(definition.name, signal=signal) == 0
    health = telemetry.export_health[Signal.TRACES]
    health.failed("refused")
    health.succeeded()
    health.queue_size = lambda: 9
    assert telemetry.value(catalog.EXPORT_FAILURES.name, signal="traces") == 1
    assert telemetry.value(catalog.EXPORT_QUEUE_SIZE.name, signal="traces") == 9
    assert telemetry.value(catalog.EXPORT_LAST_SUCCESS.name, signal="traces") > 1e9
    assert telemetry.value(catalog.EXPORT_FAILURES.name) == 1


def test_a_gauge_with_a_label_is_read_from_its_owner_value_by_value(
    telemetry: InMemoryTelemetry,
) -> None:
    telemetry.instruments.observe({catalog.CONSUMERS_BEHIND: lambda: {"second": 7, "minute": 2}})
    shown = {
        bound: telemetry.value(catalog.CONSUMERS_BEHIND.name, at_least=bound) for bound in LagBound
    }
    assert shown == dict.fromkeys(LagBound, 0) | {"second": 7, "minute": 2}
