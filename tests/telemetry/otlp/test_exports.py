from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import SpanContext, TraceFlags

from operations.drill.certificates import make_certificate
from riptide_telemetry import MessageBatch, catalog
from riptide_telemetry.catalog import Kind
from riptide_telemetry.environment.kinds import InvalidTelemetryError
from riptide_telemetry.labels import Signal, Source, StreamProtocol
from riptide_telemetry.otlp.exports import Exports, PushingReader
from riptide_telemetry.otlp.watched_exporters import WatchedMetricExporter, WatchedSpanExporter
from riptide_telemetry.providers import Telemetry, start_telemetry
from riptide_telemetry.recording.lifecycle_manager import StreamLifecycleManager
from riptide_telemetry.state.export_health import ExportHealth
from tests.otlp_receiver import HOUR_MS, OtlpReceiver, silent_endpoint
from tests.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROTOCOLS = ("grpc", "http/protobuf")
TRACE = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Telemetry]]:
    started: list[Telemetry] = []

    def start(variables: dict[str, str]) -> Telemetry:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        telemetry = start_telemetry("1", topic_prefixes=["orders"])
        started.append(telemetry)
        return telemetry

    yield start
    for telemetry in started:
        telemetry.shutdown()


def test_every_metric_of_the_catalog_is_pushed_with_its_unit_and_type(
    receiver: OtlpReceiver, start: Callable[..., Telemetry], protocol: str
) -> None:
    start(receiver.variables(protocol, "metrics"))
    pushed = receiver.wait_for(receiver.metrics)
    for definition in catalog.CATALOG:
        metric = pushed[definition.name]
        assert metric.unit == definition.unit
        kind = metric.WhichOneof("data")
        if definition.kind in {Kind.COUNTER, Kind.UP_DOWN_COUNTER}:
            assert kind == "sum"
            assert metric.sum.is_monotonic is (definition.kind is Kind.COUNTER)
            cumulative = 2
            assert metric.sum.aggregation_temporality == cumulative
        else:
            assert kind == definition.kind.value


def test_our_histograms_go_out_whole_with_their_exemplars(
    receiver: OtlpReceiver, start: Callable[..., Telemetry], protocol: str
) -> None:
    telemetry = start(receiver.variables(protocol, "metrics"))
    telemetry.lifecycle.connection_established("c", StreamProtocol.SSE)
    assert isinstance(telemetry.lifecycle, StreamLifecycleManager)
    now = time.monotonic_ns()
    telemetry.lifecycle._clock_ns = lambda: now
    telemetry.lifecycle.items_sent("c", MessageBatch(1, 5, [now - 30_000_000], TRACE), Source.LIVE)

    def live_sse() -> object:
        latency = receiver.metrics().get(catalog.DELIVERY_LATENCY.name)
        points = latency.histogram.data_points if latency else []
        wanted = {"protocol": "sse", "source": "live"}
        return next(
            (
                point
                for point in points
                if {each.key: each.value.string_value for each in point.attributes} == wanted
                and point.count
            ),
            None,
        )

    point = receiver.wait_for(live_sse)
    assert list(point.explicit_bounds) == list(catalog.DELIVERY_LATENCY.bounds)
    assert point.bucket_counts[catalog.DELIVERY_LATENCY.bounds.index(0.05)] == 1
    assert point.sum == pytest.approx(0.03)
    assert not point.HasField("min"), "what is not kept is not made up"
    (exemplar,) = point.exemplars
    assert (exemplar.trace_id.hex()[-3:], exemplar.span_id.hex()[-3:]) == ("abc", "def")


def test_each_process_is_an_instance_of_its_own(
    receiver: OtlpReceiver, start: Callable[..., Telemetry]
) -> None:
    variables = receiver.variables("grpc", "metrics")
    start(variables)
    receiver.wait_for(receiver.metrics)
    (name,) = {each["service.name"] for each in receiver.resource_attributes()}
    assert name == "riptide"
    assert all(each["service.instance.id"] for each in receiver.resource_attributes())


def test_headers_and_compression_are_the_standard_ones(
    receiver: OtlpReceiver, start: Callable[..., Telemetry], protocol: str
) -> None:
    start(
        receiver.variables(protocol, "metrics")
        | {
            "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=tide",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        }
    )
    receiver.wait_for(receiver.metrics)
    assert receiver.headers[0]["x-tenant"] == "tide"
    if protocol == "http/protobuf":
        assert receiver.headers[0]["content-encoding"] == "gzip"


def test_a_signal_may_have_an_endpoint_of_its_own(
    receiver: OtlpReceiver, start: Callable[..., Telemetry], protocol: str
) -> None:
    variables = receiver.variables(protocol, "metrics")
    own = variables["OTEL_EXPORTER_OTLP_ENDPOINT"]
    path = "/v1/metrics" if protocol == "http/protobuf" else ""
    start(
        variables
        | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": own + path,
        }
    )
    assert receiver.wait_for(receiver.metrics)


def test_a_receiver_that_refuses_is_counted_logged_once_and_tried_again(
    receiver: OtlpReceiver,
    start: Callable[..., Telemetry],
    protocol: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    receiver.refusing = True
    telemetry = start(receiver.variables(protocol, "metrics"))
    telemetry.lifecycle.connection_established("c", StreamProtocol.SSE)
    health = telemetry.export_health[Signal.METRICS]
    receiver.wait_for(lambda: health.failures >= 3)
    assert health.last_success == 0
    assert health.describe().startswith("failing")
    receiver.refusing = False
    receiver.wait_for(receiver.metrics)
    opened = receiver.metrics()[catalog.CONNECTIONS_OPENED.name].sum.data_points
    assert sum(point.as_int for point in opened) == 1, "cumulative, nothing is lost"
    receiver.wait_for(lambda: health.describe().startswith("ok"))
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.name for record in warnings] == ["riptide.export"]
    told = [record.getMessage() for record in caplog.records if record.name == "riptide.export"]
    assert "metrics do not reach" in told[0]
    assert "metrics reach" in told[1]


@pytest.mark.parametrize("answers", ["never", "not even the handshake"])
def test_shutdown_keeps_its_deadline_when_the_receiver_hangs(
    receiver: OtlpReceiver, start: Callable[..., Telemetry], protocol: str, answers: str
) -> None:
    variables = receiver.variables(protocol, "metrics")
    variables["OTEL_EXPORTER_OTLP_TIMEOUT"] = str(HOUR_MS)
    receiver.answering.clear()
    url, listener = silent_endpoint()
    if answers != "never":
        variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = url
    with contextlib.ExitStack() as held:
        held.enter_context(listener)
        telemetry = start(variables)
        # An export is under way.
        if answers == "never":
            receiver.wait_for(lambda: receiver.asked)
        else:
            held.enter_context(listener.accept()[0])
        (shutdown,) = telemetry._exports._shutdowns
        aborted = threading.Event()

        def watched_abort() -> None:
            aborted.set()
            shutdown.abort()

        telemetry._exports._shutdowns = [shutdown._replace(abort=watched_abort)]
        telemetry._exports.shutdown(deadline_s=0.2)
        assert aborted.is_set(), "the SDK's own end was waited for, which takes 30 s"
        # A second call does not wait again.
        telemetry.shutdown()


def test_shutdown_exports_what_is_left(
    receiver: OtlpReceiver,
    start: Callable[..., Telemetry],
    protocol: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Exports.shutdown, "__defaults__", (DEADLINE_S,))
    variables = receiver.variables(protocol, "metrics")
    telemetry = start(variables | {"OTEL_METRIC_EXPORT_INTERVAL": "3600000"})
    telemetry.lifecycle.connection_established("c", StreamProtocol.SSE)
    telemetry.shutdown()
    opened = receiver.metrics()[catalog.CONNECTIONS_OPENED.name].sum.data_points
    assert sum(point.as_int for point in opened) == 1


def test_a_password_in_the_endpoint_is_not_logged(
    start: Callable[..., Telemetry], caplog: pytest.LogCaptureFixture
) -> None:
    variables = {
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://tide:secret@127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "100",
    }
    start(variables).shutdown()
    assert "http://127.0.0.1:9/v1/metrics" in caplog.text
    assert "secret" not in caplog.text


def test_a_key_in_the_query_of_the_endpoint_is_not_logged(
    start: Callable[..., Telemetry], caplog: pytest.LogCaptureFixture
) -> None:
    variables = {
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:9/v1/metrics?key=secret",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "100",
    }
    start(variables).shutdown()
    assert "http://127.0.0.1:9/v1/metrics" in caplog.text
    assert "secret" not in caplog.text


def test_the_configured_token_reaches_the_receiver_whatever_is_for_other_clients(
    receiver: OtlpReceiver,
    start: Callable[..., Telemetry],
    strangers_environment: None,
    protocol: str,
) -> None:
    del strangers_environment
    variables = receiver.variables(protocol, "metrics", "traces", "logs")
    start(variables | {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20ours"})
    receiver.wait_for(receiver.metrics)
    assert {each.get("authorization") for each in receiver.headers} == {"Bearer ours"}


@pytest.mark.parametrize("proxy", ["socks5://tide:s3cret@127.0.0.1:9", "foo://tide:s3cret@there"])
def test_a_proxy_that_cannot_be_used_is_the_reason_of_a_failed_export(
    start: Callable[..., Telemetry],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    proxy: str,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.setenv("http_proxy", proxy)
    telemetry = start(
        {
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.invalid:4318",
        }
    )
    telemetry.shutdown()
    assert telemetry.export_health[Signal.METRICS].failures == 1
    assert "SOCKS" in caplog.text or "unsupported scheme" in caplog.text
    assert "s3cret" not in caplog.text
    assert "Traceback" not in caplog.text


def test_an_exporter_that_cannot_be_made_leaves_none_of_the_others_behind(
    start: Callable[..., Telemetry],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = {*threading.enumerate()}
    shut_down = []

    def shutdown(exporter: object) -> None:
        shut_down.append(type(exporter))

    monkeypatch.setattr(WatchedMetricExporter, "shutdown", shutdown)
    monkeypatch.setattr(WatchedSpanExporter, "shutdown", shutdown)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http._log_exporter", None)
    with pytest.raises(InvalidTelemetryError, match="OTEL_LOGS_EXPORTER"):
        start(
            {
                **{f"OTEL_{signal.upper()}_EXPORTER": "otlp" for signal in Signal},
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
            }
        )
    assert {*threading.enumerate()} == before
    assert {*shut_down} == {WatchedMetricExporter, WatchedSpanExporter}
    assert caplog.records == []


def test_an_export_that_cannot_be_made_does_not_end_the_exports(
    caplog: pytest.LogCaptureFixture,
) -> None:
    health = ExportHealth(Signal.METRICS, "http://nowhere")

    class Broken:
        def produce(self) -> None:
            raise RuntimeError("boom")

    reader = PushingReader.__new__(PushingReader)
    reader._health = health
    reader.producer = Broken()  # type: ignore[assignment]  # a producer that fails
    reader._receive_metrics(MetricsData([ResourceMetrics(Resource.get_empty(), [], "")]))
    assert health.failures == 1
    assert "boom" in caplog.text


def test_a_certificate_of_ones_own_is_trusted_when_it_is_given(
    start: Callable[..., Telemetry], protocol: str, tmp_path: Path
) -> None:
    certificate, key = make_certificate(tmp_path)
    with OtlpReceiver((key.read_bytes(), certificate.read_bytes())) as receiver:
        variables = receiver.variables(protocol, "metrics") | {"OTEL_EXPORTER_OTLP_TIMEOUT": "2000"}
        stranger = start(variables)
        health = stranger.export_health[Signal.METRICS]
        receiver.wait_for(lambda: health.failures)
        assert not receiver.requests
        stranger.shutdown()
        start(variables | {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(certificate)})
        assert receiver.wait_for(receiver.metrics)


def test_what_waits_for_a_receiver_that_hangs_is_bounded(
    receiver: OtlpReceiver, start: Callable[..., Telemetry]
) -> None:
    receiver.answering.clear()
    telemetry = start(
        receiver.variables("grpc", "traces", "logs") | {"OTEL_EXPORTER_OTLP_TIMEOUT": str(HOUR_MS)}
    )
    assert telemetry.log_handler is not None
    health, logger = telemetry.export_health, logging.getLogger("riptide.test")
    for number in range(3000):
        with telemetry.lifecycle.publishing("orders", ""):
            pass
        record = logger.makeRecord("riptide.test", logging.INFO, "", 1, "%d", (number,), None)
        telemetry.log_handler.handle(record)
    for signal in (Signal.TRACES, Signal.LOGS):
        assert health[signal].queue_size() == 2048
    telemetry._exports.shutdown(deadline_s=0.2)
