"""Exporters that report each result to an ``ExportHealth``, which logs failures in their place."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from riptide_telemetry.otlp.running_export import begin_export, end_export, is_exporting, note

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.sdk.metrics.export import MetricsData
    from opentelemetry.sdk.trace import ReadableSpan

    from riptide_telemetry.state.export_health import ExportHealth

Result = TypeVar("Result")

REASON_LENGTH = 400

# What may be secret in the URLs of a reason: user names with passwords, and queries.
_SECRETS = re.compile(r"(?<=//)[^/\s@]+@|[^/\s@:]+:[^/\s@]+@|(?<=\?)\S+")
# The loggers of the SDK's exporters, which log each attempt while a collector is away.
_LOGGERS = (
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
)


class _ReasonFilter(logging.Filter):
    """Keeps what is logged during an export of ours as its reason. Other records pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not is_exporting():
            return True
        note(record.getMessage())
        return False


_reason_filter = _ReasonFilter()


class Once:
    """Calls a function only the first time: an exporter that is shut down twice logs a warning."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function: Callable[[], object] | None = function

    def __call__(self) -> None:
        """Call the function, or do nothing if it was called before."""
        function, self._function = self._function, None
        if function is not None:
            function()


def _watch(health: ExportHealth, export: Callable[[], Result], success: Result) -> Result | None:
    """Export and report the result to ``health``; return None if the exporter raised."""
    for name in _LOGGERS:
        own = logging.getLogger(name)
        if _reason_filter not in own.filters:
            # Before the SDK's own filter, which drops what it takes for a duplicate.
            own.filters.insert(0, _reason_filter)
    logged = begin_export()
    result = None
    try:
        result = export()
    except Exception as error:  # noqa: BLE001  # no exception may end the exporting thread
        note(f"{type(error).__name__}: {error}")
    finally:
        end_export()
    if result == success:
        health.succeeded()
    else:
        health.failed(_one_line(logged))
    return result


def _one_line(messages: list[str]) -> str:
    """Return the last two messages in one line: the cause is often in the last but one."""
    line = _SECRETS.sub("", " ".join(" ".join(messages[-2:]).split()))
    return line[:REASON_LENGTH] or "no reason given"


class WatchedMetricExporter(MetricExporter):
    """Passes metrics on, with cumulative values and explicit buckets as at ``/metrics``."""

    def __init__(self, exporter: MetricExporter, health: ExportHealth) -> None:
        super().__init__()
        self._exporter = exporter
        self._health = health
        self._end = Once(exporter.shutdown)

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """Export; never raises."""
        result = _watch(
            self._health,
            lambda: self._exporter.export(metrics_data, timeout_millis, **kwargs),
            MetricExportResult.SUCCESS,
        )
        return result or MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Flush the exporter."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:  # noqa: ARG002  # nothing takes time
        """Shut the exporter down, which aborts a running export."""
        self._end()


class WatchedSpanExporter(SpanExporter):
    """Passes spans on."""

    def __init__(self, exporter: SpanExporter, health: ExportHealth) -> None:
        self._exporter = exporter
        self._health = health
        self._end = Once(exporter.shutdown)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export; never raises."""
        result = _watch(
            self._health, lambda: self._exporter.export(spans), SpanExportResult.SUCCESS
        )
        return result or SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Shut the exporter down, which aborts a running export."""
        self._end()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the exporter."""
        return self._exporter.force_flush(timeout_millis)


class WatchedLogExporter(LogRecordExporter):
    """Passes log records on."""

    def __init__(self, exporter: LogRecordExporter, health: ExportHealth) -> None:
        self._exporter = exporter
        self._health = health
        self._end = Once(exporter.shutdown)

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Export; never raises."""
        result = _watch(
            self._health, lambda: self._exporter.export(batch), LogRecordExportResult.SUCCESS
        )
        return result or LogRecordExportResult.FAILURE

    def shutdown(self) -> None:
        """Shut the exporter down, which aborts a running export."""
        self._end()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the exporter."""
        return self._exporter.force_flush(timeout_millis)
