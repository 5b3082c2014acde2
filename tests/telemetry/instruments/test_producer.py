from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)

from riptide_telemetry import catalog
from riptide_telemetry.instruments.producer import SCOPE, HistogramProducer, ProducingReader
from riptide_telemetry.state.bucket_histogram import BucketHistogram


class InMemory(ProducingReader, InMemoryMetricReader):
    pass


class Periodic(ProducingReader, PeriodicExportingMetricReader):
    pass


class Exporter(MetricExporter):
    def __init__(self) -> None:
        super().__init__()
        self.exported: list[MetricsData] = []

    def export(self, metrics_data: MetricsData, *_: Any, **__: Any) -> MetricExportResult:
        self.exported.append(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # noqa: ARG002  # the SDK's signature
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        pass


def make_producer() -> tuple[HistogramProducer, BucketHistogram]:
    histogram = BucketHistogram(catalog.WRITE_WAIT.bounds)
    return HistogramProducer({catalog.WRITE_WAIT: [({"protocol": "sse"}, histogram)]}), histogram


def names(data: MetricsData) -> list[str]:
    return [
        metric.name
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]


def test_it_produces_each_histogram_as_the_catalog_describes_it() -> None:
    producer, histogram = make_producer()
    histogram.observe(0.002)
    (metric,) = producer.produce().metrics
    assert (metric.name, metric.unit) == ("riptide.streaming.write_wait", "s")
    assert metric.description == catalog.WRITE_WAIT.description
    assert metric.data.aggregation_temporality is AggregationTemporality.CUMULATIVE  # type: ignore[union-attr]  # a histogram has one
    (point,) = metric.data.data_points
    assert point.attributes == {"protocol": "sse"}
    assert point.start_time_unix_nano <= point.time_unix_nano


def test_one_mixin_serves_a_pulled_and_a_pushing_reader() -> None:
    producer, histogram = make_producer()
    exporter = Exporter()
    pulled, pushing = InMemory(), Periodic(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider([pulled, pushing], shutdown_on_exit=False)
    pulled.producer = pushing.producer = producer
    provider.get_meter("test").create_counter("events").add(1)
    histogram.observe(1)
    data = pulled.get_metrics_data()
    assert data is not None
    assert names(data) == ["events", "riptide.streaming.write_wait"]
    provider.force_flush()
    provider.shutdown()
    assert set(names(exporter.exported[0])) == {"events", "riptide.streaming.write_wait"}


def test_a_reader_without_a_producer_is_what_it_was() -> None:
    reader = InMemory()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("test").create_counter("events").add(1)
    data = reader.get_metrics_data()
    assert data is not None
    assert names(data) == ["events"]


def test_metrics_of_one_scope_stay_in_one() -> None:
    producer, _ = make_producer()
    reader = InMemory()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    reader.producer = producer
    provider.get_meter(SCOPE).create_counter("ours").add(1)
    provider.get_meter("other").create_counter("theirs").add(1)
    data = reader.get_metrics_data()
    assert data is not None
    scopes = data.resource_metrics[0].scope_metrics
    # The OTLP encoder drops one of two equal scopes.
    assert [scope.scope.name for scope in scopes] == ["other", SCOPE]
    assert [metric.name for metric in scopes[1].metrics] == ["ours", "riptide.streaming.write_wait"]
