from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from riptide_telemetry.labels import Signal
from riptide_telemetry.otlp.running_export import is_exporting
from riptide_telemetry.otlp.watched_exporters import (
    REASON_LENGTH,
    WatchedLogExporter,
    WatchedMetricExporter,
    WatchedSpanExporter,
)
from riptide_telemetry.state.export_health import ExportHealth

if TYPE_CHECKING:
    import pytest

SDK_LOGGER = "opentelemetry.exporter.otlp.proto.grpc.exporter"


class Exporter(MetricExporter):
    """Logs the messages it was given, and returns the result it was given."""

    def __init__(self, result: MetricExportResult, *says: str) -> None:
        super().__init__()
        self.result = result
        self.says = says
        self.was_exporting = False

    def export(self, *_: Any, **__: Any) -> MetricExportResult:
        self.was_exporting = is_exporting()
        for text in self.says:
            logging.getLogger(SDK_LOGGER).error(text)
        return self.result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return timeout_millis == 1

    def shutdown(self, *_: Any, **__: Any) -> None:
        self.result = MetricExportResult.FAILURE


class Logs(InMemoryLogRecordExporter):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the SDK's, which has no types


def export(exporter: MetricExporter) -> tuple[MetricExportResult, ExportHealth]:
    health = ExportHealth(Signal.METRICS, "http://collector")
    return WatchedMetricExporter(exporter, health).export(MetricsData([])), health


def test_a_success_is_noted() -> None:
    exporter = Exporter(MetricExportResult.SUCCESS)
    result, health = export(exporter)
    assert result is MetricExportResult.SUCCESS
    assert health.last_success > 0
    assert exporter.was_exporting
    assert not is_exporting()


def test_a_failure_is_told_by_us_with_the_words_of_the_exporter(
    caplog: pytest.LogCaptureFixture,
) -> None:
    result, health = export(Exporter(MetricExportResult.FAILURE, "first", "gone\naway", "tired"))
    assert result is MetricExportResult.FAILURE
    assert health.failures == 1
    (record,) = caplog.records
    assert record.name == "riptide.export"
    assert "(gone away tired)" in record.getMessage()


def test_a_reason_is_never_long(caplog: pytest.LogCaptureFixture) -> None:
    export(Exporter(MetricExportResult.FAILURE, "x" * 10_000))
    assert len(caplog.records[0].getMessage()) < REASON_LENGTH + 200


def test_an_exporter_that_raises_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    class Raising(Exporter):
        def export(self, *_: Any, **__: Any) -> MetricExportResult:
            raise RuntimeError("boom")

    result, health = export(Raising(MetricExportResult.SUCCESS))
    assert (result, health.failures) == (MetricExportResult.FAILURE, 1)
    assert "boom" in caplog.records[0].getMessage()


def test_exports_of_others_keep_their_words(caplog: pytest.LogCaptureFixture) -> None:
    export(Exporter(MetricExportResult.SUCCESS, "ours"))
    logging.getLogger(SDK_LOGGER).error("theirs")
    assert [record.getMessage() for record in caplog.records] == ["theirs"]


def test_metrics_are_cumulative_whatever_the_exporter_prefers() -> None:
    exporter = Exporter(MetricExportResult.SUCCESS)
    watched = WatchedMetricExporter(exporter, ExportHealth(Signal.METRICS))
    assert not watched._preferred_temporality
    assert watched.force_flush(1)
    watched.shutdown()
    assert exporter.result is MetricExportResult.FAILURE


def test_spans_are_watched_too() -> None:
    exporter, health = InMemorySpanExporter(), ExportHealth(Signal.TRACES, "http://collector")
    watched = WatchedSpanExporter(exporter, health)
    assert watched.export([]) is SpanExportResult.SUCCESS
    assert watched.force_flush()
    watched.shutdown()
    assert watched.export([]) is SpanExportResult.FAILURE
    assert (health.failures, health.last_success > 0) == (1, True)


def test_log_records_are_watched_too() -> None:
    exporter, health = Logs(), ExportHealth(Signal.LOGS, "http://collector")
    watched = WatchedLogExporter(exporter, health)
    assert watched.export([]) is LogRecordExportResult.SUCCESS
    assert watched.force_flush()
    watched.shutdown()
    assert watched.export([]) is LogRecordExportResult.FAILURE
    assert (health.failures, health.last_success > 0) == (1, True)
