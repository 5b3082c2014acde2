"""The SDK's OTLP exporters, loaded only where one is asked for: gRPC is slow to load and large."""

from __future__ import annotations

import pkgutil
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import NoOpMeterProvider

from riptide_telemetry.environment.kinds import InvalidTelemetryError
from riptide_telemetry.labels import Signal
from riptide_telemetry.otlp.export_settings import OtlpProtocol
from riptide_telemetry.otlp.loopback import is_loopback
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
    try:
        exporter = pkgutil.resolve_name(f"{_PACKAGE}.{transport}.{_EXPORTERS[signal]}")
        own = _http_options() if transport == "http" else _grpc_options(settings.endpoint)
    except ImportError as error:
        raise InvalidTelemetryError(
            f"OTEL_{signal.upper()}_EXPORTER is otlp, but the exporter for {settings.protocol} is "
            f"not installed ({error}): pip install 'riptide-telemetry[otlp-{transport}]'"
        ) from error
    try:
        return exporter(
            endpoint=settings.endpoint,
            timeout=settings.timeout_s,
            # The exporters' metrics of themselves; by default they go to the global provider.
            meter_provider=NoOpMeterProvider(),
            **own,
        )
    except Exception as error:
        raise InvalidTelemetryError(
            f"{signal} cannot be exported by OTLP ({error}): see the OTEL_EXPORTER_OTLP_* variables"
        ) from error


def _http_options() -> dict[str, Any]:
    return {"session": pkgutil.resolve_name(_SESSION)()}


def _grpc_options(endpoint: str) -> dict[str, Any]:
    # The scheme decides. By itself, the exporter lets OTEL_EXPORTER_OTLP_INSECURE decide.
    options: dict[str, Any] = {"insecure": endpoint.startswith("http://")}
    if is_loopback(endpoint):
        options["channel_options"] = (("grpc.enable_http_proxy", 0),)
    return options
