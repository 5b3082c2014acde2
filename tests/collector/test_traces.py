"""One trace from a publisher's own span to a consumer that continues it, at the Collector."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tests import plain
from tests.collector.collector import Collector, attributes
from tests.collector.exposition import read_families
from tests.collector.pushing import pushing
from tests.contract.consumers import TRANSPORTS, numbered
from tests.service import Service
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.trace import Tracer

    from tests.contract.consumers import Transport

TOPIC = "messaging.destination.name"
LATENCY = "riptide_streaming_delivery_latency_seconds"
PROPAGATOR = TraceContextTextMapPropagator()
# As the kinds of spans are numbered in OTLP.
SERVER, PRODUCER, CONSUMER = 2, 4, 5

Span = dict[str, Any]


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """One Collector for all tests; each has a topic of its own, and looks at nothing else."""
    settings = {"traces_to": "[file, debug]", "logs_to": "[file, debug]"}
    collector = Collector(tmp_path_factory.mktemp("collector"), "agent", settings).start()
    yield collector
    collector.kill()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("service"), dict(pushing(collector))).start()
    yield service
    assert service.stop() == 0
    assert "Traceback" not in service.log, service.log


@pytest.fixture
def tracer(collector: Collector) -> Iterator[Tracer]:
    """The tracer of the programs at both ends, which are not ours."""
    provider = TracerProvider(
        resource=Resource({"service.name": "somebody's"}), shutdown_on_exit=False
    )
    exporter = OTLPSpanExporter(collector.grpc, insecure=True)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("somebody's")
    provider.shutdown()


def _publish(service: Service, topic: str, tracer: Tracer, *messages: Any) -> None:
    with (
        tracer.start_as_current_span("sell", None, SpanKind.CLIENT, {TOPIC: topic}),
        plain.client() as client,
    ):
        headers: dict[str, str] = {}
        PROPAGATOR.inject(headers)
        for message in messages:
            answer = client.post(service.topic(topic), json=message, headers=headers)
            assert answer.status_code == 202


def _spans(collector: Collector, topic: str, **wanted: int) -> dict[str, list[Span]]:
    """Wait for so many spans of these names, and return all in traces of the topic by name."""
    by_name: dict[str, list[Span]] = {}

    def have() -> bool:
        by_name.clear()
        spans = collector.spans()
        traces = {span["traceId"] for span in spans if attributes(span).get(TOPIC) == topic}
        for span in spans:
            if span["traceId"] in traces:
                by_name.setdefault(span["name"], []).append(span)
        return all(len(by_name.get(name, [])) >= count for name, count in wanted.items())

    wait_until(have, f"{wanted} spans")
    return by_name


def _duration_s(span: Span) -> float:
    return (int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"])) / 1e9


@pytest.mark.parametrize("transport", TRANSPORTS, ids=lambda transport: transport.name)
async def test_a_trace_leads_from_the_publishers_span_to_that_of_a_consumer(
    service: Service, collector: Collector, tracer: Tracer, topic: str, transport: Transport
) -> None:
    async with transport.open(service, topic) as consumer:
        await consumer.next("opened")
        await asyncio.to_thread(_publish, service, topic, tracer, {"sold": 1})
        (message,) = await consumer.messages(1)
        continued = PROPAGATOR.extract({"traceparent": message["traceparent"]})
        with tracer.start_as_current_span("buy", continued, SpanKind.CONSUMER, {TOPIC: topic}):
            pass
    spans = _spans(collector, topic, sell=1, publish=1, deliver=1, buy=1)
    (sell,), (publish,), (deliver,), (buy,) = (
        spans[name] for name in ("sell", "publish", "deliver", "buy")
    )
    assert {span["traceId"] for span in (sell, publish, deliver, buy)} == {sell["traceId"]}
    assert publish["parentSpanId"] == sell["spanId"]
    assert publish["kind"] == PRODUCER
    assert deliver["parentSpanId"] == publish["spanId"]
    assert [link["spanId"] for link in deliver["links"]] == [publish["spanId"]]
    assert buy["parentSpanId"] == publish["spanId"]
    assert buy["kind"] == CONSUMER
    assert attributes(publish)[TOPIC] == topic
    assert attributes(publish)["messaging.message.id"] == message["id"]
    assert attributes(deliver)["riptide.protocol"] == transport.name
    assert publish["resource"]["service.name"] == "riptide"
    # The debug exporter prints the same for people.
    for span in (sell, publish, deliver, buy):
        assert f"Trace ID       : {span['traceId']}" in collector.log
        assert f"ID             : {span['spanId']}" in collector.log


@pytest.mark.parametrize("transport", TRANSPORTS, ids=lambda transport: transport.name)
async def test_a_stream_has_a_span_at_each_end_and_none_for_a_send(
    service: Service, collector: Collector, topic: str, transport: Transport
) -> None:
    count = 200
    async with transport.open(service, topic) as consumer:
        await consumer.next("opened")
        await asyncio.to_thread(service.publish, topic, *numbered(count))
        await consumer.messages(count)
        # A stream that is long for a span, if there were one for all of it.
        await asyncio.sleep(1)
    spans = _spans(collector, topic, **{"stream open": 1, "stream close": 1})
    (opening,), (closing,) = spans["stream open"], spans["stream close"]
    assert opening["kind"] == closing["kind"] == SERVER
    assert [link["spanId"] for link in closing["links"]] == [opening["spanId"]]
    assert closing["traceId"] != opening["traceId"]
    totals = attributes(closing)
    assert totals["riptide.messages.sent"] == count
    assert totals["riptide.close_reason"] == "client_closed"
    assert totals["riptide.duration"] > 1
    ours = [span for each in spans.values() for span in each]
    assert len(ours) < count / 10
    assert all(_duration_s(span) < totals["riptide.duration"] for span in ours)


async def test_exemplars_of_delivery_latency_lead_to_the_trace_by_either_path(
    service: Service, collector: Collector, tracer: Tracer, topic: str
) -> None:
    (transport, *_) = TRANSPORTS
    async with transport.open(service, topic) as consumer:
        await consumer.next("opened")
        await asyncio.to_thread(_publish, service, topic, tracer, *numbered(20))
        await consumer.messages(20)
    (sell,) = _spans(collector, topic, sell=1)["sell"]

    def exemplars(url: str) -> set[str]:
        families = read_families(url, only=LATENCY)
        return {trace for trace, _ in families[LATENCY].exemplars.values()} if families else set()

    # One a bucket is kept, and those of other tests are there too.
    assert sell["traceId"] in exemplars(f"{service.url}/metrics")
    wait_until(lambda: sell["traceId"] in exemplars(collector.prometheus), "the same exemplars")


async def test_log_records_arrive_with_the_trace_of_their_stream(
    service: Service, collector: Collector, topic: str
) -> None:
    async with plain.connect(service.topic(topic).replace("http", "ws", 1)) as client:
        # A hello is text: this is what a warning is about.
        await client.send(b"binary")
        await client.wait_closed()
    (opening,) = _spans(collector, topic, **{"stream open": 1})["stream open"]

    def told() -> list[dict[str, Any]]:
        records = collector.written("LogRecords")
        return [each for each in records if each.get("traceId") == opening["traceId"]]

    wait_until(lambda: bool(told()), "a record of the stream")
    record = told()[0]
    assert record["spanId"] == opening["spanId"]
    assert record["severityText"].startswith("WARN")
    assert record["resource"]["service.name"] == "riptide"
    assert record["body"]["stringValue"] in collector.log
    # The line for people leads to the same place.
    wait_until(lambda: f"trace_id={opening['traceId']}" in service.log, lambda: service.log)
