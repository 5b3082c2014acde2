"""Every ``OTEL_*`` variable that is read, by this library or by OpenTelemetry's SDK, and its kind.

The SDK reads most of them again by itself, some when it is imported. It answers a wrong value with
a stack trace or a default, and repeats the headers with their secrets. So all are checked here
first. The source is the OpenTelemetry specification, "Environment Variable Specification" and
"OpenTelemetry Protocol Exporter", and the SDK's source for the variables of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from riptide_telemetry.environment import kinds
from riptide_telemetry.labels import Signal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping

    from riptide_telemetry.environment.kinds import Kind

PREFIX = "OTEL_"

# An interval over a day was meant otherwise, and one of 300 years ends the thread that exports.
DAY_MS = 24 * 60 * 60 * 1000
# Timeouts are in milliseconds. A smaller one was probably meant in seconds, as some SDKs read it.
LEAST_TIMEOUT_MS = 100

_milliseconds = kinds.number(1, DAY_MS, "milliseconds")
_length = kinds.whole_number(0, 2**31 - 1)
# The SDK makes lists of these lengths; memory has no room for longer ones.
_count = kinds.whole_number(0, 1_000_000)
_queue = kinds.whole_number(1, 1_000_000)

# Read when OpenTelemetry is imported, also where it is disabled.
AT_IMPORT: dict[str, Kind[Any]] = {
    "OTEL_PYTHON_CONTEXT": kinds.installed("opentelemetry_context"),
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": _count,
}
# Read wherever telemetry is recorded.
RECORDING: dict[str, Kind[Any]] = {
    "OTEL_METRICS_EXPORTER": kinds.exporters("prometheus", "otlp"),
    "OTEL_TRACES_EXPORTER": kinds.exporters("otlp"),
    "OTEL_LOGS_EXPORTER": kinds.exporters("otlp"),
    "OTEL_SERVICE_NAME": kinds.TEXT,
    "OTEL_RESOURCE_ATTRIBUTES": kinds.ATTRIBUTES,
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": kinds.installed("opentelemetry_resource_detector", "*"),
    "OTEL_TRACES_SAMPLER": kinds.one_of(
        "always_on",
        "always_off",
        "traceidratio",
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
    ),
    "OTEL_METRICS_EXEMPLAR_FILTER": kinds.one_of("trace_based", "always_on", "always_off"),
    "OTEL_METRIC_EXPORT_INTERVAL": _milliseconds,
    "OTEL_METRIC_EXPORT_TIMEOUT": _milliseconds,
    **dict.fromkeys(["OTEL_BSP_SCHEDULE_DELAY", "OTEL_BLRP_SCHEDULE_DELAY"], _milliseconds),
    **dict.fromkeys(["OTEL_BSP_EXPORT_TIMEOUT", "OTEL_BLRP_EXPORT_TIMEOUT"], _milliseconds),
    **dict.fromkeys(["OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BLRP_MAX_QUEUE_SIZE"], _queue),
    **dict.fromkeys(["OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE"], _queue),
    "OTEL_ATTRIBUTE_COUNT_LIMIT": _count,
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": _length,
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": _length,
    "OTEL_SPAN_EVENT_COUNT_LIMIT": _count,
    "OTEL_SPAN_LINK_COUNT_LIMIT": _count,
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": _count,
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": _count,
    "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": _count,
    "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT": _length,
    "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": kinds.BOOLEAN,
    # Read by OpenTelemetry's instrumentations of HTTP servers.
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST": kinds.PATTERNS,
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE": kinds.PATTERNS,
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS": kinds.PATTERNS,
}
SAMPLING_RATIO = kinds.number(0, 1)

# Read for each signal that is exported over OTLP: with its name in the variable, and without.
OTLP: dict[str, Kind[Any]] = {
    "PROTOCOL": kinds.one_of("grpc", "http/protobuf"),
    "HEADERS": kinds.HEADERS,
    "TIMEOUT": kinds.number(LEAST_TIMEOUT_MS, DAY_MS, "milliseconds"),
    "COMPRESSION": kinds.one_of("none", "gzip"),
    "INSECURE": kinds.BOOLEAN,
    "CERTIFICATE": kinds.FILE,
    "CLIENT_CERTIFICATE": kinds.FILE,
    "CLIENT_KEY": kinds.FILE,
}
# Read if metrics are exported over OTLP. Exported values are as at ``/metrics``.
METRICS_OTLP: dict[str, Kind[Any]] = {
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": kinds.one_of("cumulative"),
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": kinds.one_of(
        "explicit_bucket_histogram"
    ),
}
# Read if any signal is exported over OTLP.
ANY_OTLP: dict[str, Kind[Any]] = {
    "OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES": kinds.GRPC_STATUS_CODES,
    **{
        f"OTEL_PYTHON_EXPORTER_OTLP_GRPC_{signal}CREDENTIAL_PROVIDER": kinds.installed(
            "opentelemetry_otlp_credential_provider"
        )
        for signal in ("", "METRICS_", "TRACES_", "LOGS_")
    },
}

# Read by nobody here, although the specification knows them: what to do instead.
WITHOUT_EFFECT: dict[str, str] = {
    "OTEL_CONFIG_FILE": "set the variables themselves",
    "OTEL_EXPERIMENTAL_CONFIG_FILE": "set the variables themselves",
    "OTEL_ENTITIES": "use OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_LOG_LEVEL": "the application sets its level of log records",
    "OTEL_EXPORTER_PROMETHEUS_HOST": "metrics are where the application answers /metrics",
    "OTEL_EXPORTER_PROMETHEUS_PORT": "metrics are where the application answers /metrics",
    "OTEL_EXPORTER_ZIPKIN_ENDPOINT": "use OTEL_TRACES_EXPORTER=otlp",
    "OTEL_EXPORTER_ZIPKIN_TIMEOUT": "use OTEL_TRACES_EXPORTER=otlp",
    "OTEL_EXPORTER_OTLP_SPAN_INSECURE": "use OTEL_EXPORTER_OTLP_TRACES_INSECURE",
    "OTEL_EXPORTER_OTLP_METRIC_INSECURE": "use OTEL_EXPORTER_OTLP_METRICS_INSECURE",
    **{
        f"OTEL_PYTHON_EXPORTER_OTLP_HTTP_{signal}CREDENTIAL_PROVIDER": (
            "use OTEL_EXPORTER_OTLP_HEADERS"
        )
        for signal in ("", "METRICS_", "TRACES_", "LOGS_")
    },
}


def given(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the values without white space around them. An empty one counts as not set."""
    return {
        name: value.strip()
        for name, value in variables.items()
        if name.startswith(PREFIX) and value.strip()
    }


def put_right(environment: MutableMapping[str, str]) -> None:
    """Let others read the variables as ``given`` does: remove empty ones, and strip the rest.

    To the specification an empty variable is one that is not set. To the SDK it is a limit of
    nothing, or a wrong number, depending on the variable.
    """
    for name in [each for each in environment if each.startswith(PREFIX)]:
        value = environment[name].strip()
        if not value:
            del environment[name]
        elif value != environment[name]:
            environment[name] = value


def signal_variables(signal: Signal, what: str) -> tuple[str, str]:
    """Return the OTLP variable of a signal, and the one that all signals share."""
    return f"OTEL_EXPORTER_OTLP_{signal.upper()}_{what}", f"OTEL_EXPORTER_OTLP_{what}"


def is_disabled(values: Mapping[str, str]) -> bool:
    """Return whether the SDK is switched off."""
    return values.get("OTEL_SDK_DISABLED", "").lower() == "true"


def check(values: Mapping[str, str]) -> None:
    """Check all values that are read.

    Raises:
        InvalidTelemetryError: a value is not allowed; the text says which are.

    """
    for variable, kind in _read(values):
        if variable in values:
            kind.read(variable, values[variable])


def _read(values: Mapping[str, str]) -> Iterator[tuple[str, Kind[Any]]]:
    """Yield the variables that are read, in the order in which they decide about each other."""
    yield from AT_IMPORT.items()
    if is_disabled(values):
        return
    yield from RECORDING.items()
    exported = [each for each in Signal if exports_otlp(values, each)]
    for signal in exported:
        for what, kind in OTLP.items():
            for variable in signal_variables(signal, what):
                yield variable, kind
    if Signal.METRICS in exported:
        yield from METRICS_OTLP.items()
    if exported:
        yield from ANY_OTLP.items()


def exports_otlp(values: Mapping[str, str], signal: Signal) -> bool:
    """Return whether a signal is exported over OTLP."""
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    return variable in values and "otlp" in RECORDING[variable].read(variable, values[variable])


def remarks(values: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable that is set, but asks for something that is not done."""
    found = [
        f"{variable} has no effect here: {instead}"
        for variable, instead in WITHOUT_EFFECT.items()
        if variable in values
    ]
    if values.get("OTEL_SDK_DISABLED", "true").lower() not in {"true", "false"}:
        found.append("OTEL_SDK_DISABLED is neither true nor false, and counts as false")
    propagators = values.get("OTEL_PROPAGATORS", "tracecontext").split(",")
    if (
        not {"tracecontext"}
        <= {part.strip() for part in propagators}
        <= {"tracecontext", "baggage"}
    ):
        found.append(
            "OTEL_PROPAGATORS has no effect here: traces are always passed on as W3C trace context "
            "(tracecontext)"
        )
    return found
