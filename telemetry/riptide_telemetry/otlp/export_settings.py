"""What is exported, and how, as the standard ``OTEL_*`` variables say.

A value that is not allowed is an error. The SDK would use a default instead, and might export
nothing without a word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from riptide_telemetry.environment.kinds import InvalidTelemetryError, endpoint, grpc_endpoint
from riptide_telemetry.environment.variables import (
    OTLP,
    RECORDING,
    SAMPLING_RATIO,
    check,
    exports_otlp,
    given,
    is_disabled,
    signal_variables,
)
from riptide_telemetry.labels import ClosedSet, Signal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace.sampling import Sampler

# 15 s suits alerting; the specification's default is 60 s.
DEFAULT_INTERVAL_MS = 15_000.0
DEFAULT_INTERVAL_TIMEOUT_MS = 30_000.0
DEFAULT_TIMEOUT_MS = 10_000.0
DEFAULT_SAMPLER = "parentbased_always_on"


class OtlpProtocol(ClosedSet):
    """The values of ``OTEL_EXPORTER_OTLP_PROTOCOL``."""

    GRPC = "grpc"
    HTTP = "http/protobuf"


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """Limits of a queue and of one export (spans or log records), and the time between exports."""

    size: int
    batch: int
    delay_ms: float
    timeout_ms: float = 30_000.0


@dataclass(frozen=True, slots=True)
class OtlpSettings:
    """Where a signal goes. The exporter reads headers, certificates and compression itself."""

    protocol: OtlpProtocol
    endpoint: str
    timeout_s: float


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """Which signals are exported, and how. ``otlp`` has those that are exported over OTLP.

    ``exemplar_filter`` is the name of the filter.
    """

    disabled: bool
    prometheus: bool
    otlp: Mapping[Signal, OtlpSettings]
    interval_s: float
    interval_timeout_s: float
    exemplar_filter: str
    sampler: Sampler
    spans: QueueSettings
    log_records: QueueSettings


def read_export_settings(variables: Mapping[str, str]) -> ExportSettings:
    """Check every variable that is read here or by the SDK, and return what they say.

    An empty variable counts as not set.

    Raises:
        InvalidTelemetryError: a variable has a value that is not allowed; the text says which are.

    """
    values = given(variables)
    check(values)
    disabled = is_disabled(values)
    if disabled:
        values = {}
    metrics = _read(values, "OTEL_METRICS_EXPORTER", {"prometheus"})
    return ExportSettings(
        disabled=disabled,
        prometheus="prometheus" in metrics and not disabled,
        otlp={each: _otlp(values, each) for each in Signal if exports_otlp(values, each)},
        interval_s=_read(values, "OTEL_METRIC_EXPORT_INTERVAL", DEFAULT_INTERVAL_MS) / 1000,
        interval_timeout_s=(
            _read(values, "OTEL_METRIC_EXPORT_TIMEOUT", DEFAULT_INTERVAL_TIMEOUT_MS) / 1000
        ),
        exemplar_filter=_read(values, "OTEL_METRICS_EXEMPLAR_FILTER", "trace_based"),
        sampler=_sampler(values),
        spans=_queue(values, "OTEL_BSP", 5000),
        log_records=_queue(values, "OTEL_BLRP", 1000),
    )


def _read(values: Mapping[str, str], variable: str, default: Any) -> Any:
    if variable not in values:
        return default
    return RECORDING[variable].read(variable, values[variable])


def _read_otlp(values: Mapping[str, str], signal: Signal, what: str, default: Any) -> Any:
    """Return what the variable of the signal says, or else the one that all signals share."""
    for variable in signal_variables(signal, what):
        if variable in values:
            return OTLP[what].read(variable, values[variable])
    return default


def _otlp(values: Mapping[str, str], signal: Signal) -> OtlpSettings:
    protocol = OtlpProtocol(_read_otlp(values, signal, "PROTOCOL", OtlpProtocol.GRPC))
    return OtlpSettings(
        protocol,
        _endpoint(values, signal, protocol),
        _read_otlp(values, signal, "TIMEOUT", DEFAULT_TIMEOUT_MS) / 1000,
    )


def _endpoint(values: Mapping[str, str], signal: Signal, protocol: OtlpProtocol) -> str:
    own, shared = signal_variables(signal, "ENDPOINT")
    variable = own if own in values else shared
    if protocol is OtlpProtocol.HTTP:
        url = endpoint().read(variable, values.get(variable, "http://localhost:4318"))
        return url if variable is own else f"{url.removesuffix('/')}/v1/{signal}"
    # The specification allows an endpoint without a scheme for gRPC only.
    insecure = _read_otlp(values, signal, "INSECURE", default=False)
    kind = grpc_endpoint("http" if insecure else "https")
    return kind.read(variable, values.get(variable, "http://localhost:4317"))


def _queue(values: Mapping[str, str], prefix: str, delay_ms: float) -> QueueSettings:
    size = _read(values, f"{prefix}_MAX_QUEUE_SIZE", 2048)
    variable = f"{prefix}_MAX_EXPORT_BATCH_SIZE"
    batch = _read(values, variable, min(512, size))
    if batch > size:
        raise InvalidTelemetryError(
            f"{variable} is {values[variable]!r}, but must be no more than "
            f"{prefix}_MAX_QUEUE_SIZE ({size})"
        )
    return QueueSettings(
        size,
        batch,
        _read(values, f"{prefix}_SCHEDULE_DELAY", delay_ms),
        _read(values, f"{prefix}_EXPORT_TIMEOUT", 30_000.0),
    )


def _sampler(values: Mapping[str, str]) -> Sampler:
    # Imported only now: this module of the SDK reads variables when it is imported, and raises an
    # error of its own.
    from opentelemetry.sdk.trace import sampling  # noqa: PLC0415  # see above

    name = _read(values, "OTEL_TRACES_SAMPLER", DEFAULT_SAMPLER)
    fixed: dict[str, Sampler] = {
        "always_on": sampling.ALWAYS_ON,
        "always_off": sampling.ALWAYS_OFF,
        "parentbased_always_on": sampling.DEFAULT_ON,
        "parentbased_always_off": sampling.DEFAULT_OFF,
    }
    if name in fixed:
        return fixed[name]
    variable = "OTEL_TRACES_SAMPLER_ARG"
    ratio = SAMPLING_RATIO.read(variable, values.get(variable, "1"))
    if name == "traceidratio":
        return sampling.TraceIdRatioBased(ratio)
    return sampling.ParentBasedTraceIdRatio(ratio)
