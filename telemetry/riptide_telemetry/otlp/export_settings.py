"""The standard ``OTEL_*`` variables that decide what is exported, and how.

A value that is not allowed is an error. The SDK would use a default instead, and might export
nothing without a word.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    ParentBasedTraceIdRatio,
    TraceIdRatioBased,
)

from riptide_telemetry.labels import ClosedSet, Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from opentelemetry.sdk.trace.sampling import Sampler

T = TypeVar("T")

# 15 s suits alerting; the specification's default is 60 s.
DEFAULT_INTERVAL_S = 15.0
DEFAULT_TIMEOUT_S = 10.0
# Timeouts are in milliseconds. A smaller one was probably meant in seconds, as some SDKs read it.
LEAST_TIMEOUT_MS = 100

_FIXED_SAMPLERS: dict[str, Sampler] = {
    "always_on": ALWAYS_ON,
    "always_off": ALWAYS_OFF,
    "parentbased_always_on": DEFAULT_ON,
    "parentbased_always_off": DEFAULT_OFF,
}
_RATIO_SAMPLERS: dict[str, Callable[[float], Sampler]] = {
    "traceidratio": TraceIdRatioBased,
    "parentbased_traceidratio": ParentBasedTraceIdRatio,
}


class InvalidTelemetryError(ValueError):
    """An ``OTEL_*`` variable has a value that is not allowed, or an exporter is not installed.

    The text is one line.
    """


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


@dataclass(frozen=True, slots=True)
class OtlpSettings:
    """Where a signal goes. The exporter reads headers, certificates and compression itself."""

    protocol: OtlpProtocol
    endpoint: str
    timeout_s: float


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """Which signals are exported, and how. ``otlp`` has those that are exported over OTLP."""

    disabled: bool
    prometheus: bool
    otlp: Mapping[Signal, OtlpSettings]
    interval_s: float
    sampler: Sampler
    spans: QueueSettings
    log_records: QueueSettings


def read_export_settings(variables: Mapping[str, str]) -> ExportSettings:
    """Read the variables. An empty one counts as not set.

    The source is the OpenTelemetry specification, "Environment Variable Specification" and
    "OpenTelemetry Protocol Exporter".

    Raises:
        InvalidTelemetryError: a variable has a value that is not allowed; the text says which are.

    """
    given = {name: value.strip() for name, value in variables.items() if value.strip()}
    if given.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return dataclasses.replace(read_export_settings({}), disabled=True, prometheus=False)
    metrics = _exporters(given, Signal.METRICS, "prometheus", {"prometheus", "otlp", "none"})
    traces = _exporters(given, Signal.TRACES, "none", {"otlp", "none"})
    logs = _exporters(given, Signal.LOGS, "none", {"otlp", "none"})
    chosen = {Signal.METRICS: metrics, Signal.TRACES: traces, Signal.LOGS: logs}
    if "otlp" in metrics:
        # Exported values are cumulative, as at ``/metrics``.
        _one_of(given, "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", ["cumulative"])
    return ExportSettings(
        disabled=False,
        prometheus="prometheus" in metrics,
        otlp={
            signal: _otlp(given, signal)
            for signal, exporters in chosen.items()
            if "otlp" in exporters
        },
        interval_s=_milliseconds(given, ["OTEL_METRIC_EXPORT_INTERVAL"], DEFAULT_INTERVAL_S, 1),
        sampler=_sampler(given),
        spans=_queue(given, "OTEL_BSP", 5000),
        log_records=_queue(given, "OTEL_BLRP", 1000),
    )


def _exporters(given: Mapping[str, str], signal: Signal, default: str, known: set[str]) -> set[str]:
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    text = given.get(variable, default)
    exporters = {part.strip().lower() for part in text.split(",")} - {""}
    if not exporters or not exporters <= known or ("none" in exporters and len(exporters) > 1):
        lists = " or both with a comma, or" if len(known) > 2 else " or"  # noqa: PLR2004  # traces and logs know otlp and none
        names = ", ".join(sorted(known - {"none"}, reverse=True))
        raise _invalid(variable, text, f"{names}{lists} none")
    return exporters - {"none"}


def _otlp(given: Mapping[str, str], signal: Signal) -> OtlpSettings:
    _one_of(given, f"OTEL_EXPORTER_OTLP_{signal.upper()}_COMPRESSION", ["none", "gzip"])
    _one_of(given, "OTEL_EXPORTER_OTLP_COMPRESSION", ["none", "gzip"])
    for kind in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"):
        for variable in _names(signal, kind):
            _check_file(given, variable)
    for variable in _names(signal, "HEADERS"):
        _check_headers(given, variable)
    names = _names(signal, "PROTOCOL")
    protocol = _first(given, names, OtlpProtocol.GRPC, lambda name: _protocol(given, name))
    return OtlpSettings(
        protocol,
        _endpoint(given, signal, protocol),
        _milliseconds(given, _names(signal, "TIMEOUT"), DEFAULT_TIMEOUT_S, LEAST_TIMEOUT_MS),
    )


def _protocol(given: Mapping[str, str], variable: str) -> OtlpProtocol:
    return OtlpProtocol(_one_of(given, variable, list(OtlpProtocol)))


def _endpoint(given: Mapping[str, str], signal: Signal, protocol: OtlpProtocol) -> str:
    own, shared = _names(signal, "ENDPOINT")
    variable = own if own in given else shared
    if protocol is OtlpProtocol.HTTP:
        url = given.get(variable, "http://localhost:4318")
        if variable is shared:
            url = f"{url.removesuffix('/')}/v1/{signal}"
    else:
        url = given.get(variable, "http://localhost:4317")
        # The specification allows an endpoint without a scheme for gRPC only.
        if "://" not in url:
            url = f"{'http' if _insecure(given, signal) else 'https'}://{url}"
    if not _is_url(url):
        raise _invalid(variable, given.get(variable, url), "a URL, like http://localhost:4317")
    return url


def _insecure(given: Mapping[str, str], signal: Signal) -> bool:
    own, shared = _names(signal, "INSECURE")
    return given.get(own, given.get(shared, "false")).lower() == "true"


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _check_file(given: Mapping[str, str], variable: str) -> None:
    if variable in given:
        try:
            Path(given[variable]).read_bytes()
        except OSError as error:
            must = f"a file that can be read ({error.strerror})"
            raise _invalid(variable, given[variable], must) from None


def _check_headers(given: Mapping[str, str], variable: str) -> None:
    for part in given.get(variable, "").split(","):
        name, equals, _ = part.partition("=")
        if part.strip() and not (name.strip() and equals):
            # The value is not shown, because headers may have secrets.
            raise InvalidTelemetryError(f"{variable} must be name=value, several with commas")


def _milliseconds(
    given: Mapping[str, str], names: Iterable[str], default_s: float, least_ms: float
) -> float:
    must = f"a number of milliseconds from {least_ms}"
    return _first(given, names, default_s, lambda name: _number(given, name, least_ms, must) / 1000)


def _queue(given: Mapping[str, str], prefix: str, delay_ms: float) -> QueueSettings:
    def read(name: str, default: float) -> float:
        variable = f"{prefix}_{name}"
        return _number(given, variable, 1, "a number from 1") if variable in given else default

    size = int(read("MAX_QUEUE_SIZE", 2048))
    batch = int(read("MAX_EXPORT_BATCH_SIZE", min(512, size)))
    if batch > size:
        variable = f"{prefix}_MAX_EXPORT_BATCH_SIZE"
        must = f"no more than {prefix}_MAX_QUEUE_SIZE ({size})"
        raise _invalid(variable, given[variable], must)
    return QueueSettings(size, batch, read("SCHEDULE_DELAY", delay_ms))


def _number(given: Mapping[str, str], variable: str, least: float, must: str) -> float:
    try:
        value = float(given[variable])
    except ValueError:
        value = -math.inf
    if not least <= value < math.inf:
        raise _invalid(variable, given[variable], must)
    return value


def _sampler(given: Mapping[str, str]) -> Sampler:
    variable = "OTEL_TRACES_SAMPLER"
    names = [*_FIXED_SAMPLERS, *_RATIO_SAMPLERS]
    name = _one_of(given, variable, names) if variable in given else "parentbased_always_on"
    if name in _FIXED_SAMPLERS:
        return _FIXED_SAMPLERS[name]
    text = given.get(f"{variable}_ARG", "1")
    try:
        return _RATIO_SAMPLERS[name](float(text))
    except ValueError:
        raise _invalid(f"{variable}_ARG", text, "a number from 0 to 1") from None


def _names(signal: Signal, what: str) -> tuple[str, str]:
    """Return the variable of the signal, and the one that all signals share."""
    return f"OTEL_EXPORTER_OTLP_{signal.upper()}_{what}", f"OTEL_EXPORTER_OTLP_{what}"


def _first(
    given: Mapping[str, str], names: Iterable[str], default: T, read: Callable[[str], T]
) -> T:
    return next((read(name) for name in names if name in given), default)


def _one_of(given: Mapping[str, str], variable: str, allowed: list[str]) -> str:
    value = given.get(variable, allowed[0]).lower()
    if value not in allowed:
        raise _invalid(variable, given[variable], " or ".join(allowed))
    return value


def _invalid(variable: str, value: str, must: str) -> InvalidTelemetryError:
    return InvalidTelemetryError(f"{variable} is {value!r}, but must be {must}")
