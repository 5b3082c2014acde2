from __future__ import annotations

import re
from pathlib import Path

import opentelemetry.sdk
import pytest

from riptide_telemetry.environment.kinds import InvalidTelemetryError
from riptide_telemetry.environment.variables import (
    ANY_OTLP,
    AT_IMPORT,
    METRICS_OTLP,
    OTLP,
    RECORDING,
    WITHOUT_EFFECT,
    check,
    given,
    put_right,
    remarks,
    signal_variables,
)
from riptide_telemetry.labels import Signal
from riptide_telemetry.otlp.export_settings import read_export_settings

EVERYTHING = {f"OTEL_{signal.upper()}_EXPORTER": "otlp" for signal in Signal}
ENDPOINTS = {name for signal in Signal for name in signal_variables(signal, "ENDPOINT")}
CHECKED = {
    *(*AT_IMPORT, *RECORDING, *METRICS_OTLP, *ANY_OTLP),
    *(name for signal in Signal for what in OTLP for name in signal_variables(signal, what)),
    *ENDPOINTS,
    "OTEL_TRACES_SAMPLER_ARG",
}
# What has no wrong value: names that are read elsewhere in other ways, or not at all here.
HARMLESS = {
    # True, or anything else.
    "OTEL_SDK_DISABLED",
    # Read by the service (riptide.process.http_conventions), which has tests of its own.
    "OTEL_PROPAGATORS",
    "OTEL_SEMCONV_STABILITY_OPT_IN",
    # Any value lets the instrumentation show methods as they come. Ours sees GET and HEAD only.
    "OTEL_PYTHON_INSTRUMENTATION_HTTP_CAPTURE_ALL_METHODS",
    # Names of global providers, and of parts that only the SDK's auto-configuration loads.
    "OTEL_PYTHON_TRACER_PROVIDER",
    "OTEL_PYTHON_METER_PROVIDER",
    "OTEL_PYTHON_LOGGER_PROVIDER",
    "OTEL_PYTHON_ID_GENERATOR",
    "OTEL_PYTHON_TRACER_CONFIGURATOR",
    "OTEL_PYTHON_METER_CONFIGURATOR",
    "OTEL_PYTHON_LOGGER_CONFIGURATOR",
    "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED",
    # Of HTTP clients that are instrumented; there are none here.
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST",
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_RESPONSE",
    # Read by the opentelemetry-instrument command only.
    "OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH",
    "OTEL_PYTHON_CONFIGURATOR",
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
    "OTEL_PYTHON_DISTRO",
}
# As in the specification's lists, "SDK Environment Variables" and "OTLP Exporter Configuration".
SPECIFICATION = {
    *("OTEL_SDK_DISABLED", "OTEL_ENTITIES", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME"),
    *("OTEL_LOG_LEVEL", "OTEL_PROPAGATORS", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"),
    *(
        f"OTEL_{processor}_{what}"
        for processor in ("BSP", "BLRP")
        for what in ("SCHEDULE_DELAY", "EXPORT_TIMEOUT", "MAX_QUEUE_SIZE", "MAX_EXPORT_BATCH_SIZE")
    ),
    *("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"),
    *("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"),
    *("OTEL_SPAN_EVENT_COUNT_LIMIT", "OTEL_SPAN_LINK_COUNT_LIMIT"),
    *("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"),
    *("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT"),
    *("OTEL_EXPORTER_ZIPKIN_ENDPOINT", "OTEL_EXPORTER_ZIPKIN_TIMEOUT"),
    *("OTEL_EXPORTER_PROMETHEUS_HOST", "OTEL_EXPORTER_PROMETHEUS_PORT"),
    *("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"),
    *("OTEL_METRICS_EXEMPLAR_FILTER", "OTEL_METRIC_EXPORT_INTERVAL", "OTEL_METRIC_EXPORT_TIMEOUT"),
    *("OTEL_CONFIG_FILE", "OTEL_EXPORTER_OTLP_SPAN_INSECURE", "OTEL_EXPORTER_OTLP_METRIC_INSECURE"),
    *(
        f"OTEL_EXPORTER_OTLP_{signal}{what}"
        for signal in ("", "TRACES_", "METRICS_", "LOGS_")
        for what in ("ENDPOINT", "INSECURE", "CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")
    ),
    *(
        f"OTEL_EXPORTER_OTLP_{signal}{what}"
        for signal in ("", "TRACES_", "METRICS_", "LOGS_")
        for what in ("HEADERS", "COMPRESSION", "TIMEOUT", "PROTOCOL")
    ),
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
}
NAME = re.compile(r"""["'](OTEL_[A-Z0-9_]*[A-Z0-9])["']""")


def test_every_variable_of_the_specification_is_checked_or_told_to_have_no_effect() -> None:
    assert SPECIFICATION - CHECKED - set(WITHOUT_EFFECT) - HARMLESS == set()


def test_every_variable_that_opentelemetry_names_is_known_here() -> None:
    folder = Path(next(iter(opentelemetry.sdk.__path__))).parent
    named = {name for file in folder.rglob("*.py") for name in NAME.findall(file.read_text())}
    assert "OTEL_SPAN_LINK_COUNT_LIMIT" in named
    assert named - CHECKED - set(WITHOUT_EFFECT) - HARMLESS == set()


@pytest.mark.parametrize("variable", sorted(SPECIFICATION | CHECKED | set(WITHOUT_EFFECT)))
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_any_value_is_taken_or_refused_in_one_line_that_names_the_variable(
    variable: str, protocol: str
) -> None:
    always = {**EVERYTHING, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    for value in ("nonsense[(", "9" * 50, "1e300", "x" * 100_000, "-1", "ü→٣", "a\udcff", "\n\0."):
        try:
            read_export_settings({**always, "OTEL_TRACES_SAMPLER": "traceidratio", variable: value})
        except InvalidTelemetryError as error:
            line = str(error)
            assert line.startswith(variable)
            assert "\n" not in line
            assert len(line) < 400
            line.encode()


@pytest.mark.parametrize("variable", sorted(SPECIFICATION | CHECKED | set(WITHOUT_EFFECT)))
def test_an_empty_value_counts_as_not_set(variable: str) -> None:
    unset = {name: value for name, value in EVERYTHING.items() if name != variable}
    for empty in ("", " ", "\t"):
        with_empty = read_export_settings({**unset, variable: empty})
        assert with_empty == read_export_settings(unset)
        environment = {"PATH": "", variable: empty}
        put_right(environment)
        assert environment == {"PATH": ""}


def test_white_space_around_a_value_does_not_count() -> None:
    environment = {"OTEL_TRACES_EXPORTER": " otlp\n", "OTEL_SERVICE_NAME": "a b", "OTHER": " "}
    put_right(environment)
    assert environment == {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_SERVICE_NAME": "a b",
        "OTHER": " ",
    }
    assert given({"OTEL_SERVICE_NAME": " a ", "OTHER": "x"}) == {"OTEL_SERVICE_NAME": "a"}


def test_variables_of_otlp_are_checked_only_where_something_is_exported() -> None:
    wrong = {"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "soon", "OTEL_EXPORTER_OTLP_HEADERS": "s3cret"}
    check(wrong)
    check({**wrong, "OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"})
    for variable, value in wrong.items():
        with pytest.raises(InvalidTelemetryError, match=variable):
            check({variable: value, "OTEL_TRACES_EXPORTER": "otlp"})


def test_what_is_read_at_import_is_checked_although_the_sdk_is_disabled() -> None:
    for variable in AT_IMPORT:
        with pytest.raises(InvalidTelemetryError, match=variable):
            check({"OTEL_SDK_DISABLED": "true", variable: "x"})
    check({"OTEL_SDK_DISABLED": "true", "OTEL_SPAN_EVENT_COUNT_LIMIT": "x"})


def test_what_has_no_effect_is_told_with_what_to_do_instead() -> None:
    told = remarks(dict.fromkeys(WITHOUT_EFFECT, "s3cret"))
    assert told == [f"{name} has no effect here: {todo}" for name, todo in WITHOUT_EFFECT.items()]


@pytest.mark.parametrize(
    ("variable", "quiet", "loud"),
    [
        ("OTEL_SDK_DISABLED", ["true", "FALSE"], ["1", "yes"]),
        (
            "OTEL_PROPAGATORS",
            ["tracecontext", "baggage, tracecontext"],
            ["b3", "none", "baggage", "tracecontext,b3", "nonsense"],
        ),
    ],
)
def test_a_value_that_is_not_followed_is_told(
    variable: str, quiet: list[str], loud: list[str]
) -> None:
    assert remarks({}) == []
    for value in quiet:
        assert remarks({variable: value}) == []
    for value in loud:
        (line,) = remarks({variable: value})
        assert line.startswith(variable)
