from __future__ import annotations

import json
import logging
import subprocess
import sys
from uuid import UUID

import pytest
from opentelemetry import metrics as global_metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client.parser import text_string_to_metric_families

from riptide_telemetry import MessageBatch, catalog
from riptide_telemetry.environment.kinds import InvalidTelemetryError
from riptide_telemetry.instruments.producer import ProducingReader
from riptide_telemetry.labels import CloseReason, Signal, Source, StreamProtocol
from riptide_telemetry.lifecycle import Lifecycle
from riptide_telemetry.providers import Telemetry, start_telemetry
from riptide_telemetry.recording.lifecycle_manager import StreamLifecycleManager


class Reader(ProducingReader, InMemoryMetricReader):
    pass


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)


def target_info(telemetry: Telemetry) -> dict[str, str]:
    page = telemetry.exposition.render().body.decode()
    (sample,) = [
        sample
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "target_info"
    ]
    return dict(sample.labels)


def test_the_service_is_called_riptide_and_says_its_version() -> None:
    info = target_info(start_telemetry("1.2.3"))
    assert (info["service_name"], info["service_version"]) == ("riptide", "1.2.3")


def test_otel_service_name_names_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "tide")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=other")
    assert target_info(start_telemetry("1"))["service_name"] == "tide"


def test_otel_resource_attributes_describe_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    attributes = "service.name=eddy,deployment.environment.name=test,service.version=9"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", attributes)
    info = target_info(start_telemetry("1"))
    assert info["service_name"] == "eddy"
    assert info["deployment_environment_name"] == "test"


def test_the_application_names_its_instances() -> None:
    assert target_info(start_telemetry("1", instance="tide-1"))["service_instance_id"] == "tide-1"


def test_the_operator_may_name_instances_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=pod-7")
    assert target_info(start_telemetry("1", instance="tide-1"))["service_instance_id"] == "pod-7"


def test_a_process_that_nobody_has_named_has_an_id_of_its_own() -> None:
    named = target_info(start_telemetry("1"))["service_instance_id"]
    assert str(UUID(named)) == named


@pytest.mark.parametrize(
    ("variable", "whole"), [("", "tide-1"), ("service.instance.id=pod-7", "pod-7")]
)
def test_the_workers_of_an_instance_have_ids_of_their_own_below_its_own(
    monkeypatch: pytest.MonkeyPatch, variable: str, whole: str
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", variable)
    workers = [start_telemetry("1", instance="tide-1", worker=name) for name in ("0", "1")]
    ids = [target_info(worker)["service_instance_id"] for worker in workers]
    assert ids == [f"{whole}/0", f"{whole}/1"]
    page = workers[0].merged(list).render().body.decode()
    assert f'service_instance_id="{whole}"' in page


@pytest.mark.parametrize("value", ["true", "TRUE", " True "])
async def test_disabled_telemetry_does_nothing_quietly_and_metrics_still_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", value)
    caplog.set_level(logging.DEBUG)
    telemetry = start_telemetry("1")
    assert type(telemetry.lifecycle) is Lifecycle
    telemetry.lifecycle.connection_established("c", StreamProtocol.SSE)
    telemetry.observe({catalog.MEMORY_USAGE: lambda: 1})
    for _ in range(2):
        page = (await telemetry.exposition.scrape()).body.decode()
        assert "python_info" in page
        assert "riptide_" not in page
    telemetry.shutdown()
    assert [record for record in caplog.records if record.name != "asyncio"] == []


@pytest.mark.parametrize("value", ["false", "", "1"])
def test_any_other_value_leaves_telemetry_on(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", value)
    assert isinstance(start_telemetry("1").lifecycle, StreamLifecycleManager)


def test_nothing_global_is_set_so_that_two_live_side_by_side() -> None:
    before = global_metrics.get_meter_provider()
    one, other = start_telemetry("1"), start_telemetry("2")
    assert global_metrics.get_meter_provider() is before
    one.lifecycle.connection_established("c", StreamProtocol.SSE)
    shown = 'riptide_streaming_total_connections{protocol="sse"} 1.0'
    assert shown in one.exposition.render().body.decode()
    assert shown not in other.exposition.render().body.decode()


def test_an_extra_reader_gets_instruments_histograms_and_their_exemplars() -> None:
    reader = Reader()
    telemetry = start_telemetry("1", [reader], topic_prefixes=["orders"])
    telemetry.lifecycle.connection_established("c", StreamProtocol.SSE)
    telemetry.lifecycle.items_sent("c", MessageBatch(1, 1, [0]), Source.LIVE)
    telemetry.lifecycle.connection_closed("c", CloseReason.COMPLETED)
    data = reader.get_metrics_data()
    assert data is not None
    shown = {
        metric["name"]
        for resource in json.loads(data.to_json())["resource_metrics"]
        for scope in resource["scope_metrics"]
        for metric in scope["metrics"]
    }
    assert shown >= {definition.name for definition in catalog.CATALOG}


def test_the_version_stands_in_the_build_info() -> None:
    page = start_telemetry("1.2.3").exposition.render().body.decode()
    assert 'riptide_build_info{version="1.2.3"} 1.0' in page


def test_metrics_still_answer_after_shutdown() -> None:
    telemetry = start_telemetry("1")
    telemetry.shutdown()
    assert b"python_info" in telemetry.exposition.render().body


def test_by_default_nothing_is_exported_traced_or_logged() -> None:
    telemetry = start_telemetry("1")
    assert not telemetry.pushes_only
    assert telemetry.log_handler is None
    assert not any(health.enabled for health in telemetry.export_health.values())
    with telemetry.tracer_provider.get_tracer("test").start_as_current_span("span") as span:
        assert not span.is_recording()


def test_what_is_asked_for_is_there_without_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    for signal in ("METRICS", "TRACES", "LOGS"):
        monkeypatch.setenv(f"OTEL_{signal}_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "100")
    telemetry = start_telemetry("1")
    assert telemetry.pushes_only
    assert telemetry.log_handler is not None
    assert all(health.enabled for health in telemetry.export_health.values())
    with telemetry.lifecycle.publishing("orders", "") as publishing:
        assert publishing.traceparent
    assert telemetry.export_health[Signal.TRACES].queue_size() == 1
    telemetry.shutdown()


def test_a_variable_that_is_wrong_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "carbon")
    with pytest.raises(InvalidTelemetryError, match="OTEL_METRICS_EXPORTER is 'carbon'"):
        start_telemetry("1")


def test_the_library_loads_nothing_that_reads_variables_before_they_are_checked() -> None:
    program = (
        "import sys, riptide_telemetry\n"
        "print([f'opentelemetry.{m}' in sys.modules for m in ('sdk.trace', 'propagate')])\n"
        "try:\n"
        "    riptide_telemetry.start_telemetry('1')\n"
        "except riptide_telemetry.InvalidTelemetryError as error:\n"
        "    print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "many", "OTEL_PROPAGATORS": "b3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    loaded, line = result.stdout.splitlines()
    assert loaded == "[False, False]"
    assert line.startswith("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT is 'many', but must be a whole number")


@pytest.mark.parametrize("name", ["always_on", "always_off", "trace_based"])
def test_the_exemplar_filter_is_the_one_that_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXEMPLAR_FILTER", f" {name.upper()} ")
    provider = start_telemetry("1").meter_provider
    assert isinstance(provider, MeterProvider)
    filter_name = type(provider._sdk_config.exemplar_filter).__name__
    assert filter_name.lower() == f"{name.replace('_', '')}exemplarfilter"


def test_an_empty_variable_counts_as_not_set_for_the_sdk_as_well(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for signal in ("METRICS", "TRACES", "LOGS"):
        monkeypatch.setenv(f"OTEL_{signal}_EXPORTER", "otlp")
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{signal}_TIMEOUT", "")
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{signal}_INSECURE", " ")
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{signal}_CERTIFICATE", "")
    monkeypatch.setenv("OTEL_SPAN_EVENT_COUNT_LIMIT", "")
    monkeypatch.setenv("OTEL_METRICS_EXEMPLAR_FILTER", "")
    monkeypatch.setenv("OTEL_PYTHON_METER_PROVIDER", "")
    monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "100")
    telemetry = start_telemetry("1")
    assert telemetry.log_handler is not None
    assert isinstance(telemetry.tracer_provider, TracerProvider)
    assert telemetry.tracer_provider._span_limits.max_events == 128
    record = logging.LogRecord("riptide.test", logging.INFO, "", 1, "x", None, None)
    telemetry.log_handler.handle(record)
    assert telemetry.export_health[Signal.LOGS].queue_size() == 1
    telemetry.shutdown()
    assert {each.name for each in caplog.records} <= {"riptide.export"}


def test_disabled_telemetry_says_nothing_of_the_other_variables(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "s3cret")
    start_telemetry("1").shutdown()
    assert caplog.records == []


def test_a_name_that_only_looks_like_the_default_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "unknown_service_of_mine")
    assert target_info(start_telemetry("1"))["service_name"] == "unknown_service_of_mine"


def test_metrics_may_go_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    telemetry = start_telemetry("1")
    assert telemetry.pushes_only
    assert b"riptide_" not in telemetry.exposition.render().body
