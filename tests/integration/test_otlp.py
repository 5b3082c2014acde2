"""A real service that sends metrics, traces and logs to a real receiver, or to one that is not."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from riptide_telemetry import CloseReason
from tests import plain
from tests.contract.consumers import TRANSPORTS
from tests.otlp_receiver import HOUR_MS, PATIENT_SDK, OtlpReceiver, silent_endpoint
from tests.service import RIPTIDE
from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from tests.conftest import StartService
    from tests.contract.consumers import Transport
    from tests.service import Service

PUBLISHERS_TRACE = "0af7651916cd43dd8448eb211c80319c"
PUBLISHERS_SPAN = "b7ad6b7169203331"
TRACEPARENT = f"00-{PUBLISHERS_TRACE}-{PUBLISHERS_SPAN}-01"
ALL = ("metrics", "traces", "logs")


def publish(service: Service, topic: str, traceparent: str = TRACEPARENT) -> None:
    answer = plain.post(
        service.topic(topic), json={"tide": "high"}, headers={"traceparent": traceparent}
    )
    assert answer.status_code == 202


def attributes(span: Any) -> dict[str, Any]:
    """Return the attributes of a span or a log record."""
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes
    }


def named(receiver: OtlpReceiver, name: str, **wanted: Any) -> list[Span]:
    """Return the spans of a name that have these attributes (``a_b`` for ``riptide.a_b``)."""
    wanted = {f"riptide.{key}": value for key, value in wanted.items()}
    return [
        span
        for span in receiver.spans()
        if span.name == name and wanted.items() <= attributes(span).items()
    ]


async def arrived(receiver: OtlpReceiver, name: str, **wanted: Any) -> list[Span]:
    """Wait for such spans."""
    spans: list[Span] = await asyncio.to_thread(
        receiver.wait_for, lambda: named(receiver, name, **wanted)
    )
    return spans


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
async def test_a_trace_leads_from_the_publisher_through_publish_and_delivery_to_the_consumer(
    start_service: StartService, receiver: OtlpReceiver, topic: str, protocol: str
) -> None:
    variables = receiver.variables(protocol, "traces")
    service = await asyncio.to_thread(lambda: start_service(**variables))
    for transport in TRANSPORTS:
        await _follow(service, transport, receiver, topic)


async def _follow(
    service: Service, transport: Transport, receiver: OtlpReceiver, topic: str
) -> None:
    seen = set()
    async with transport.open(service, topic) as consumer:
        await consumer.next("opened")
        # The first message of a connection, and one that is fanned out.
        for _ in range(2):
            await asyncio.to_thread(publish, service, topic)
            message = await consumer.next("message")
            version, trace_id, publish_span, flags = message["traceparent"].split("-")
            assert (version, trace_id, flags) == ("00", PUBLISHERS_TRACE, "01")
            assert publish_span != PUBLISHERS_SPAN
            seen.add(publish_span)
    assert len(seen) == 2

    def delivered() -> bool:
        spans = named(receiver, "deliver", protocol=transport.name)
        return {span.parent_span_id.hex() for span in spans} == seen

    await asyncio.to_thread(receiver.wait_for, delivered)
    for span in named(receiver, "deliver", protocol=transport.name):
        assert span.trace_id.hex() == PUBLISHERS_TRACE
        (link,) = span.links
        assert (link.trace_id, link.span_id) == (span.trace_id, span.parent_span_id)
        assert attributes(span)["riptide.source"] == "live"
        assert span.start_time_unix_nano <= span.end_time_unix_nano
    published = [span for span in named(receiver, "publish") if span.span_id.hex() in seen]
    assert len(published) == 2
    for span in published:
        assert span.parent_span_id.hex() == PUBLISHERS_SPAN
        assert span.kind == span.SPAN_KIND_PRODUCER
        assert attributes(span)["messaging.destination.name"] == topic
        assert attributes(span)["messaging.message.id"]


async def test_a_stream_has_a_short_span_at_each_end_with_its_totals_and_none_between(
    start_service: StartService, receiver: OtlpReceiver, topic: str
) -> None:
    variables = receiver.variables("grpc", "traces")
    service = await asyncio.to_thread(lambda: start_service(**variables))
    sizes = []
    async with (
        plain.async_client() as client,
        client.stream(
            "GET", service.topic(topic), headers={"traceparent": TRACEPARENT}
        ) as response,
    ):
        lines = response.aiter_lines()
        assert "opened" in await anext(lines)
        (opened,) = await arrived(receiver, "stream open")
        for number in range(50):
            await asyncio.to_thread(service.publish, topic, number)
            sizes.append(len((await anext(lines)).encode()) + 1)
    (closed,) = await arrived(receiver, "stream close")
    assert opened.trace_id.hex() == PUBLISHERS_TRACE
    assert opened.parent_span_id.hex() == PUBLISHERS_SPAN
    (link,) = closed.links
    assert (link.trace_id, link.span_id) == (opened.trace_id, opened.span_id)
    assert closed.trace_id != opened.trace_id
    assert not closed.parent_span_id
    totals = attributes(closed)
    assert totals["riptide.messages.sent"] == 50
    assert totals["riptide.messages.dropped"] == 0
    assert totals["riptide.bytes.sent"] == sum(sizes)
    assert totals["riptide.close_reason"] == CloseReason.CLIENT_CLOSED
    # What was published without a trace began one of its own; each is delivered once.
    names = [span.name for span in receiver.spans()]
    assert names.count("deliver") <= 50
    assert set(names) <= {"publish", "deliver", "stream open", "stream close"}


async def test_a_message_replayed_after_a_restart_still_carries_its_trace(
    start_service: StartService, receiver: OtlpReceiver, topic: str
) -> None:
    variables = receiver.variables("grpc", "traces")
    service = await asyncio.to_thread(lambda: start_service(**variables))
    await asyncio.to_thread(publish, service, topic)
    await asyncio.to_thread(service.stop)
    await asyncio.to_thread(service.start)
    for transport in TRANSPORTS:
        async with transport.open(service, topic, after="earliest", until="latest") as consumer:
            message = await consumer.next("message")
        assert message["traceparent"].startswith(f"00-{PUBLISHERS_TRACE}-")
    replayed = await arrived(receiver, "deliver", source="replay")
    assert {link.trace_id.hex() for span in replayed for link in span.links} == {PUBLISHERS_TRACE}
    assert not any(span.trace_id.hex() == PUBLISHERS_TRACE for span in replayed)


async def test_without_traces_of_its_own_it_passes_on_those_of_publishers_and_adds_none(
    start_service: StartService, topic: str
) -> None:
    service = await asyncio.to_thread(start_service)
    async with TRANSPORTS[0].open(service, topic) as consumer:
        await consumer.next("opened")
        await asyncio.to_thread(publish, service, topic)
        assert (await consumer.next("message"))["traceparent"] == TRACEPARENT
        await asyncio.to_thread(publish, service, topic, "not a trace")
        assert (await consumer.next("message")).keys() == {"id", "time", "data"}


async def test_log_records_carry_their_trace_in_the_line_and_by_otlp(
    start_service: StartService, receiver: OtlpReceiver, topic: str
) -> None:
    variables = receiver.variables("grpc", "traces", "logs")
    service = await asyncio.to_thread(
        lambda: start_service(log_format="json", log_level="debug", **variables)
    )
    async with TRANSPORTS[0].open(service, topic) as consumer:
        await consumer.next("opened")
    (opened,) = await arrived(receiver, "stream open")
    (record,) = await asyncio.to_thread(
        receiver.wait_for,
        lambda: [
            each
            for each in receiver.logs()
            if attributes(each).get("event") == "connection_established"
        ],
    )
    assert (record.trace_id, record.span_id) == (opened.trace_id, opened.span_id)
    assert record.severity_text == "DEBUG"
    await asyncio.to_thread(service.stop)
    lines = [json.loads(line) for line in service.log.splitlines()]
    (line,) = [line for line in lines if line.get("event") == "connection_established"]
    assert line["trace_id"] == opened.trace_id.hex()
    assert line["span_id"] == opened.span_id.hex()
    assert line["level"] == "DEBUG"
    assert not [each for each in receiver.logs() if "export" in each.body.string_value]


def test_readiness_tells_of_each_export_and_does_not_fail_for_it(
    start_service: StartService,
) -> None:
    service = start_service(
        otel_metrics_exporter="prometheus,otlp",
        otel_exporter_otlp_endpoint="http://127.0.0.1:9",
        otel_exporter_otlp_timeout=200,
        otel_metric_export_interval=200,
    )
    service.wait_for_metric(1, "riptide_export_enabled", signal="metrics")
    wait_until(lambda: service.metric("riptide_export_failures_total", signal="metrics"))
    answer = plain.get(f"{service.url}/healthz/ready")
    assert answer.status_code == 200
    state = answer.json()
    assert state["status"] == "ready"
    assert state["metrics_export"].startswith("failing")
    assert (state["traces_export"], state["logs_export"]) == ("off", "off")
    told = [line for line in service.log.splitlines() if "do not reach" in line]
    assert len(told) == 1
    assert "opentelemetry" not in service.log


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
async def test_a_receiver_that_hangs_holds_up_neither_streams_nor_the_end(
    start_service: StartService, topic: str, protocol: str
) -> None:
    url, listener = silent_endpoint()
    with listener, OtlpReceiver() as other:
        variables = other.variables(protocol, *ALL)
        variables |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_TIMEOUT": str(HOUR_MS),
        }
        service = await asyncio.to_thread(
            lambda: start_service(program=PATIENT_SDK, drain_seconds=0.1, **variables)
        )
        async with TRANSPORTS[1].open(service, topic) as consumer:
            await consumer.next("opened")
            for _ in range(100):
                await asyncio.to_thread(publish, service, topic)
                await consumer.next("message")
        assert await asyncio.to_thread(service.stop) == 0


def test_where_metrics_are_only_pushed_metrics_says_so(
    start_service: StartService, receiver: OtlpReceiver
) -> None:
    service = start_service(**receiver.variables("http/protobuf", "metrics"))
    answer = plain.get(f"{service.url}/metrics")
    assert answer.status_code == 404
    assert "OTEL_METRICS_EXPORTER" in answer.json()["detail"]
    assert receiver.wait_for(receiver.metrics)


def test_each_worker_is_an_instance_of_its_own(
    start_service: StartService, receiver: OtlpReceiver
) -> None:
    both = {"OTEL_METRICS_EXPORTER": "prometheus,otlp"}
    service = start_service(
        workers=2, instance="tide", **receiver.variables("grpc", "metrics") | both
    )
    receiver.wait_for(
        lambda: (
            {each["service.instance.id"] for each in receiver.resource_attributes()}
            == {"tide/0", "tide/1"}
        )
    )
    # The shared port shows all of them as one.
    assert 'service_instance_id="tide"' in plain.get(f"{service.url}/metrics").text


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_wrong_variable_ends_the_start_with_one_line(tmp_path: Path, workers: str) -> None:
    variables = {"OTEL_TRACES_EXPORTER": "zipkin", "RIPTIDE_DATA_DIR": str(tmp_path)}
    result = subprocess.run(
        [RIPTIDE, "serve", "--workers", workers],
        check=False,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env=os.environ | variables | {"RIPTIDE_PORT": "0"},
    )
    assert result.returncode == 1
    lines = [line for line in result.stderr.splitlines() if "OTEL_TRACES_EXPORTER" in line]
    assert lines
    assert lines[0] == "riptide: OTEL_TRACES_EXPORTER is 'zipkin', but must be otlp or none"
    assert "Traceback" not in result.stderr
