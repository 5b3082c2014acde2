"""The gateway: what it has said it has, a kill does not take away; and it keeps what matters."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context

from tests import plain
from tests.collector.exposition import read_families
from tests.collector.pushing import pushing
from tests.contract.consumers import TRANSPORTS
from tests.contract.raw import RawStream
from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from tests.collector.collector import Collector
    from tests.collector.conftest import MakeCollector
    from tests.conftest import StartService
    from tests.service import Service

SECOND = 1_000_000_000
LAST = "the last"
BATCHES = 40
BATCH = 5


class Sender:
    """A program of somebody's that makes traces, and knows which spans were acknowledged."""

    def __init__(self, gateway: Collector) -> None:
        self._memory = InMemorySpanExporter()
        provider = TracerProvider(
            resource=Resource({"service.name": "sender"}), shutdown_on_exit=False
        )
        provider.add_span_processor(SimpleSpanProcessor(self._memory))
        self._tracer = provider.get_tracer("sender")
        self._exporter = OTLPSpanExporter(gateway.grpc, insecure=True, timeout=DEADLINE_S)
        self.acknowledged: list[str] = []

    def close(self) -> None:
        self._exporter.shutdown()

    def trace(
        self,
        *names: str,
        seconds: float = 0.001,
        status: StatusCode = StatusCode.UNSET,
        **more: Any,
    ) -> None:
        """Make one trace: a root, and children of it; the last span has what is said."""
        now = time.time_ns()
        root, *children = names
        parent = self._tracer.start_span(root, start_time=now)
        spans = [parent]
        for name in children:
            context = set_span_in_context(parent)
            spans.append(self._tracer.start_span(name, context, start_time=now, **more))
        spans[-1].set_status(status)
        for span in spans[:-1]:
            span.end(now + SECOND // 1000)
        spans[-1].end(now + int(seconds * SECOND))

    def send(self) -> bool:
        """Export what has been made, once; return whether it was acknowledged."""
        spans: Sequence[ReadableSpan] = self._memory.get_finished_spans()
        self._memory.clear()
        if self._exporter.export(spans) is not SpanExportResult.SUCCESS:
            return False
        self.acknowledged += [_id(span) for span in spans]
        return True


def _id(span: ReadableSpan) -> str:
    context = span.get_span_context()
    assert context is not None
    return f"{context.span_id:016x}"


def _kept(gateway: Collector, backend: Collector) -> list[dict[str, Any]]:
    """End both, and return all that the gateway keeps of what it has been sent."""
    # It decides on all that waits before it ends. What it keeps then waits on disk.
    gateway.stop()
    gateway.start()
    sender = Sender(gateway)
    sender.trace(LAST, status=StatusCode.ERROR)
    assert sender.send()
    sender.close()
    wait_until(lambda: any(span["name"] == LAST for span in backend.spans()), "the last span")
    gateway.stop()
    backend.stop()
    return [span for span in backend.spans() if span["name"] != LAST]


def _received(backend: Collector) -> Counter[str]:
    return Counter(span["spanId"] for span in backend.spans())


@pytest.fixture
def backend(make_collector: MakeCollector) -> Collector:
    """Something that takes spans and writes them down; not running yet."""
    return make_collector("agent", traces_to="[file]", logs_to="[file]")


def _gateway(make_collector: MakeCollector, backend: Collector, **settings: Any) -> Collector:
    return make_collector(
        "gateway",
        otlp_endpoint=backend.grpc.removeprefix("http://"),
        span_metrics_interval="200ms",
        **settings,
    ).start()


@pytest.fixture
def gateway(make_collector: MakeCollector, backend: Collector) -> Collector:
    return _gateway(make_collector, backend, decision_wait="1s", kept_percent=0)


@pytest.fixture
def sender(gateway: Collector) -> Iterator[Sender]:
    each = Sender(gateway)
    yield each
    each.close()


def test_a_kill_loses_no_acknowledged_span_where_all_are_kept(
    make_collector: MakeCollector, backend: Collector
) -> None:
    gateway = _gateway(make_collector, backend, keep_all_traces="true")
    sender = Sender(gateway)

    def kill_and_start() -> None:
        gateway.kill()
        gateway.start()

    restart = threading.Thread(target=kill_and_start)
    # Nobody is there to pass them on to: they wait on disk.
    for number in range(BATCHES):
        for _ in range(BATCH):
            sender.trace("publish", "deliver")
        if number == BATCHES // 4:
            restart.start()
        # Some of these meet the kill: what is not acknowledged is not promised.
        sender.send()
    restart.join()
    gateway.kill()
    assert len(sender.acknowledged) > BATCH * BATCHES
    backend.start()
    gateway.start()
    wait_until(lambda: set(sender.acknowledged) <= set(_received(backend)), "all that was promised")
    sender.close()


def test_a_kill_loses_no_error_and_no_slow_delivery_where_traces_are_sampled(
    make_collector: MakeCollector, backend: Collector
) -> None:
    # No trace is decided on before the kill.
    gateway = _gateway(make_collector, backend, decision_wait="600s", kept_percent=0)
    sender = Sender(gateway)
    for _ in range(BATCHES):
        sender.trace("an error", status=StatusCode.ERROR)
        sender.trace("a slow delivery", seconds=2)
        assert sender.send()
    gateway.kill()
    backend.start()
    gateway.start()
    wait_until(lambda: set(sender.acknowledged) <= set(_received(backend)), "all that was promised")
    sender.close()


def test_traces_with_an_error_or_a_slow_delivery_are_kept_whole_and_each_span_comes_once(
    backend: Collector, gateway: Collector, sender: Sender
) -> None:
    backend.start()
    for _ in range(BATCHES):
        sender.trace("fine", "deliver")
        sender.trace("failed", "deliver", "an error", status=StatusCode.ERROR)
        sender.trace("slow", "a slow delivery", seconds=1.5)
    assert sender.send()
    assert Counter(span["name"] for span in _kept(gateway, backend)) == dict.fromkeys(
        ("failed", "deliver", "an error", "slow", "a slow delivery"), BATCHES
    )
    assert set(_received(backend).values()) == {1}


def test_a_share_of_the_traces_in_which_all_went_well_is_kept(
    make_collector: MakeCollector, backend: Collector
) -> None:
    backend.start()
    gateway = _gateway(make_collector, backend, decision_wait="500ms", kept_percent=50)
    sender = Sender(gateway)
    for _ in range(400):
        sender.trace("fine", "deliver")
    assert sender.send()
    names = Counter(span["name"] for span in _kept(gateway, backend))
    assert names["fine"] == names["deliver"]
    assert 100 < names["fine"] < 300
    sender.close()


def test_spans_become_metrics_in_seconds_before_any_is_sampled_away(
    gateway: Collector, sender: Sender
) -> None:
    for _ in range(30):
        sender.trace("publish", "deliver", seconds=0.02, kind=SpanKind.PRODUCER)
    sender.trace("publish", "deliver", status=StatusCode.ERROR, kind=SpanKind.PRODUCER)
    sender.trace("publish", "a stream of an hour", seconds=3600, kind=SpanKind.SERVER)
    sender.trace("publish", "a very slow delivery", seconds=3600, kind=SpanKind.INTERNAL)
    assert sender.send()
    calls, duration = "traces_span_metrics_calls_total", "traces_span_metrics_duration_seconds"

    def counted(name: str, sample: str, **wanted: str) -> float:
        families = read_families(gateway.prometheus)
        if name not in families:
            return 0
        return sum(
            value
            for (each, labels), value in families[name].samples.items()
            if each == sample and wanted.items() <= dict(labels).items()
        )

    wait_until(lambda: counted(calls, calls, span_name="deliver") == 31, "31 calls")
    assert counted(calls, calls, span_name="publish") == 33
    assert counted(calls, calls, span_name="a very slow delivery") == 1
    assert counted(calls, calls, span_name="a stream of an hour") == 0
    assert counted(calls, calls, span_name="deliver", status_code="STATUS_CODE_ERROR") == 1
    below = counted(duration, f"{duration}_bucket", span_name="deliver", le="0.025")
    above = counted(duration, f"{duration}_bucket", span_name="deliver", le="0.01")
    assert (below, above) == (31, 1)

    def with_exemplars() -> bool:
        # They are shown until the metrics are renewed for the next time.
        sender.trace("publish", "deliver")
        return sender.send() and bool(read_families(gateway.prometheus)[duration].exemplars)

    wait_until(with_exemplars, "exemplars")


def test_spans_of_many_agents_pass_through_and_say_where_they_were_made(
    make_collector: MakeCollector, backend: Collector, gateway: Collector
) -> None:
    backend.start()
    for environment in ("staging", "production"):
        agent = make_collector(
            "agent", otlp_endpoint=gateway.grpc.removeprefix("http://"), environment=environment
        ).start()
        sender = Sender(agent)
        sender.trace("by way of an agent", status=StatusCode.ERROR)
        assert sender.send()
        sender.close()
    wait_until(lambda: len(_received(backend)) == 2, "one span of each agent")
    made_in = {span["resource"]["deployment.environment.name"] for span in backend.spans()}
    assert made_in == {"staging", "production"}


async def test_of_a_real_service_the_traces_of_a_refusal_and_of_a_slow_delivery_are_kept(
    make_collector: MakeCollector, start_service: StartService, backend: Collector, topic: str
) -> None:
    backend.start()
    # Every trace is whole when it is decided on: that is when the gateway ends.
    gateway = _gateway(make_collector, backend, decision_wait="600s", kept_percent=0, slow="500ms")
    service = start_service(**pushing(gateway), ring_messages=100_000, ring_bytes=1 << 28)
    (transport, *_) = TRANSPORTS
    async with transport.open(service, topic) as consumer:
        await consumer.next("opened")
        for _ in range(BATCHES):
            await asyncio.to_thread(service.publish, topic, "fine")
        await consumer.messages(BATCHES)
    refused = plain.post(service.topic(topic), content=b"not JSON")
    assert refused.status_code == 415
    await asyncio.to_thread(_read_late, service, topic)
    assert service.stop() == 0
    traces: dict[str, list[dict[str, Any]]] = {}
    for span in _kept(gateway, backend):
        traces.setdefault(span["traceId"], []).append(span)
    refusals = [spans for spans in traces.values() if any(map(_is_error, spans))]
    late = [spans for spans in traces.values() if any(map(_is_slow, spans))]
    assert len(refusals) == 1
    assert late
    # Whole traces, each for a reason, and each span once.
    assert len(refusals) + len(late) == len(traces)
    assert all(any(span["name"] == "publish" for span in spans) for spans in traces.values())
    assert set(_received(backend).values()) == {1}


def _is_error(span: dict[str, Any]) -> bool:
    return bool(span["status"].get("code") == StatusCode.ERROR.value)


def _is_slow(span: dict[str, Any]) -> bool:
    return int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"]) >= SECOND // 2


def _read_late(service: Service, topic: str) -> None:
    """Be a consumer that does not read for a second, with more on its way than sockets hold."""
    with RawStream(service, topic, "sse") as late:
        late.wait_until_open()
        for _ in range(20):
            service.publish(topic, *["x" * 1000] * 500)
        service.publish(topic, "the last")
        time.sleep(1)
        late.read_until(b'"the last"')
