from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from riptide_telemetry.environment.kinds import InvalidTelemetryError
from riptide_telemetry.labels import Signal
from riptide_telemetry.otlp.export_settings import (
    OtlpProtocol,
    OtlpSettings,
    QueueSettings,
    read_export_settings,
)

if TYPE_CHECKING:
    from pathlib import Path

OTLP = {"OTEL_METRICS_EXPORTER": "otlp"}


def metrics_of(**variables: str) -> OtlpSettings:
    return read_export_settings(OTLP | variables).otlp[Signal.METRICS]


def test_without_variables_metrics_are_scraped_and_nothing_is_sent() -> None:
    settings = read_export_settings({})
    assert settings.prometheus
    assert not settings.otlp
    assert not settings.disabled


def test_an_empty_variable_is_not_set() -> None:
    given = {"OTEL_METRICS_EXPORTER": " ", "OTEL_TRACES_SAMPLER": ""}
    assert read_export_settings(given) == read_export_settings({})


@pytest.mark.parametrize(
    ("value", "goes_to"),
    [
        ("prometheus", {"prometheus"}),
        ("otlp", {"otlp"}),
        ("prometheus, OTLP", {"prometheus", "otlp"}),
        ("none", set()),
    ],
)
def test_metrics_go_where_the_list_says(value: str, goes_to: set[str]) -> None:
    settings = read_export_settings({"OTEL_METRICS_EXPORTER": value})
    assert settings.prometheus is ("prometheus" in goes_to)
    assert (Signal.METRICS in settings.otlp) is ("otlp" in goes_to)


def test_traces_and_logs_are_sent_when_asked_for() -> None:
    settings = read_export_settings({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "otlp"})
    assert set(settings.otlp) == {Signal.TRACES, Signal.LOGS}


def test_a_disabled_sdk_needs_no_other_variable_to_be_right() -> None:
    settings = read_export_settings({"OTEL_SDK_DISABLED": "TRUE", "OTEL_METRICS_EXPORTER": "?"})
    assert settings.disabled
    assert not settings.otlp


def test_the_defaults_are_those_of_a_collector_beside_us() -> None:
    assert metrics_of() == OtlpSettings(OtlpProtocol.GRPC, "http://localhost:4317", 10.0)
    http = metrics_of(OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf")
    assert http.endpoint == "http://localhost:4318/v1/metrics"
    assert read_export_settings(OTLP).interval_s == 15


def test_what_is_said_of_a_signal_goes_before_what_is_said_of_all() -> None:
    own = metrics_of(
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        OTEL_EXPORTER_OTLP_METRICS_PROTOCOL="http/protobuf",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://all:4317",
        OTEL_EXPORTER_OTLP_METRICS_ENDPOINT="https://own/path",
        OTEL_EXPORTER_OTLP_TIMEOUT="5000",
        OTEL_EXPORTER_OTLP_METRICS_TIMEOUT="2500",
    )
    assert own == OtlpSettings(OtlpProtocol.HTTP, "https://own/path", 2.5)


def test_the_shared_endpoint_over_http_gets_the_path_of_the_signal() -> None:
    settings = read_export_settings(
        {
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/base/",
        }
    )
    assert settings.otlp[Signal.TRACES].endpoint == "http://collector:4318/base/v1/traces"


@pytest.mark.parametrize(
    ("insecure", "url"), [("true", "http://collector:4317"), ("", "https://collector:4317")]
)
def test_an_endpoint_of_grpc_may_lack_its_scheme(insecure: str, url: str) -> None:
    settings = metrics_of(
        OTEL_EXPORTER_OTLP_ENDPOINT="collector:4317", OTEL_EXPORTER_OTLP_INSECURE=insecure
    )
    assert settings.endpoint == url


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_METRICS_EXPORTER", "statsd"),
        ("OTEL_METRICS_EXPORTER", "none,otlp"),
        ("OTEL_METRICS_EXPORTER", ","),
        ("OTEL_TRACES_EXPORTER", "prometheus"),
        ("OTEL_LOGS_EXPORTER", "console"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "thrift"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://collector:4317"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:port"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "inf"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "deflate"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "there-is-no-such-file"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
        ("OTEL_BSP_SCHEDULE_DELAY", "soon"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096"),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "nan"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
    ],
)
def test_a_wrong_value_is_told_in_one_line_with_its_variable(variable: str, value: str) -> None:
    with pytest.raises(InvalidTelemetryError) as raised:
        read_export_settings(OTLP | {variable: value})
    text = str(raised.value)
    assert text.startswith(f"{variable} is {value!r}, but must be ")
    assert "\n" not in text


@pytest.mark.parametrize("ratio", ["2", "-1", "half", "nan"])
def test_a_ratio_is_from_0_to_1(ratio: str) -> None:
    given = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": ratio}
    with pytest.raises(InvalidTelemetryError, match="OTEL_TRACES_SAMPLER_ARG"):
        read_export_settings(given)


def test_headers_are_pairs_and_a_wrong_one_is_not_repeated() -> None:
    metrics_of(OTEL_EXPORTER_OTLP_HEADERS="x-tenant=tide, authorization=Basic%20x=,")
    with pytest.raises(InvalidTelemetryError, match="OTEL_EXPORTER_OTLP_HEADERS") as raised:
        metrics_of(OTEL_EXPORTER_OTLP_HEADERS="Bearer secret")
    assert "secret" not in str(raised.value)


def test_queues_are_those_of_the_specification_unless_told_otherwise() -> None:
    settings = read_export_settings({"OTEL_BSP_MAX_QUEUE_SIZE": "100"})
    assert settings.spans == QueueSettings(size=100, batch=100, delay_ms=5000)
    assert settings.log_records == QueueSettings(size=2048, batch=512, delay_ms=1000)


def test_samplers_are_the_standard_ones() -> None:
    given = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"}
    assert "0.25" in read_export_settings(given).sampler.get_description()
    default = read_export_settings({}).sampler.get_description()
    assert default.startswith("ParentBased{root:AlwaysOn")


def test_a_certificate_that_is_there_is_taken(tmp_path: Path) -> None:
    certificate = tmp_path / "ca.pem"
    certificate.write_text("anything")
    settings = metrics_of(OTEL_EXPORTER_OTLP_CERTIFICATE=str(certificate))
    assert settings.protocol is OtlpProtocol.GRPC
