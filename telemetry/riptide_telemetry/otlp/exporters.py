"""The SDK's OTLP exporters, loaded only where one is asked for: gRPC is slow to load and large."""

from __future__ import annotations

import pkgutil
from typing import TYPE_CHECKING, Any

from riptide_telemetry.labels import Signal
from riptide_telemetry.otlp.export_settings import InvalidTelemetryError, OtlpProtocol
from riptide_telemetry.otlp.watched_exporters import (
    WatchedLogExporter,
    WatchedMetricExporter,
    WatchedSpanExporter,
)

if TYPE_CHECKING:
    from riptide_telemetry.otlp.export_settings import OtlpSettings
    from riptide_telemetry.state.export_health import ExportHealth

_PACKAGE = "opentelemetry.exporter.otlp.proto"
_EXPORTERS = {
    Signal.METRICS: "metric_exporter:OTLPMetricExporter",
    Signal.TRACES: "trace_exporter:OTLPSpanExporter",
    Signal.LOGS: "_log_exporter:OTLPLogExporter",
}
_SESSION = "riptide_telemetry.otlp.http_session:ExportSession"
_TRANSPORTS = {OtlpProtocol.GRPC: "grpc", OtlpProtocol.HTTP: "http"}


def make_metric_exporter(settings: OtlpSettings, health: ExportHealth) -> WatchedMetricExporter:
    """Return an exporter of metrics; raises ``InvalidTelemetryError`` (see ``_make``)."""
    return WatchedMetricExporter(_make(Signal.METRICS, settings), health)


def make_span_exporter(settings: OtlpSettings, health: ExportHealth) -> WatchedSpanExporter:
    """Return an exporter of spans; raises ``InvalidTelemetryError`` (see ``_make``)."""
    return WatchedSpanExporter(_make(Signal.TRACES, settings), health)


def make_log_exporter(settings: OtlpSettings, health: ExportHealth) -> WatchedLogExporter:
    """Return an exporter of log records; raises ``InvalidTelemetryError`` (see ``_make``)."""
    return WatchedLogExporter(_make(Signal.LOGS, settings), health)


def _make(signal: Signal, settings: OtlpSettings) -> Any:
    """Return the SDK's exporter.

    Raises:
        InvalidTelemetryError: the exporter is not installed, or rejects a variable.

    """
    transport = _TRANSPORTS[settings.protocol]
    session: dict[str, Any] = {}
    try:
        exporter = pkgutil.resolve_name(f"{_PACKAGE}.{transport}.{_EXPORTERS[signal]}")
        if settings.protocol is OtlpProtocol.HTTP:
            session["session"] = pkgutil.resolve_name(_SESSION)()
    except ImportError as error:
        raise InvalidTelemetryError(
            f"OTEL_{signal.upper()}_EXPORTER is otlp, but the exporter for {settings.protocol} is "
            f"not installed ({error}): pip install 'riptide-telemetry[otlp-{transport}]'"
        ) from error
    try:
        return exporter(endpoint=settings.endpoint, timeout=settings.timeout_s, **session)
    except Exception as error:
        raise InvalidTelemetryError(
            f"{signal} cannot be exported by OTLP ({error}): see the OTEL_EXPORTER_OTLP_* variables"
        ) from error
