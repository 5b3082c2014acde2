from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    Decision,
    ParentBasedTraceIdRatio,
)
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, get_current_span

from riptide_telemetry.batch import MessageBatch
from riptide_telemetry.labels import CloseReason, Source, StreamProtocol
from riptide_telemetry.recording.lifecycle_manager import StreamLifecycleManager
from riptide_telemetry.state.streaming_metrics import StreamingMetrics
from riptide_telemetry.testing import ManualClock
from riptide_telemetry.traces.span_tracing import (
    DELIVERY_SPANS_PER_SECOND,
    LinkedSampler,
    SpanTracing,
)
from riptide_telemetry.traces.trace_context import read_traceparent
from riptide_telemetry.traces.tracing import ConnectionTotals

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.sampling import Sampler

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"


class Traced:
    """Spans made by ``tracing``, kept in memory."""

    def __init__(self, sampler: Sampler = DEFAULT_ON) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(LinkedSampler(sampler), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.clock = ManualClock()
        self.tracing = SpanTracing(provider.get_tracer("test"), self.clock.ns)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def deliver(self, trace: str = SAMPLED, source: Source = Source.LIVE) -> None:
        span = read_traceparent(trace)
        assert span is not None
        now = self.clock.ns()
        batch = MessageBatch(3, 30, [now - 2_000_000] * 3, span)
        self.tracing.delivered(StreamProtocol.SSE, source, "orders", batch, [now - 1_000_000, now])


@pytest.fixture
def traced() -> Traced:
    return Traced()


def context_of(span: ReadableSpan) -> SpanContext:
    context: SpanContext | None = span.context
    assert context is not None
    return context


def test_a_publish_is_a_child_of_the_publishers_span_and_what_messages_carry(
    traced: Traced,
) -> None:
    with traced.tracing.publishing("orders", SAMPLED) as publishing:
        assert get_current_span().get_span_context().trace_id == int(TRACE, 16)
        publishing.accepted("0a1b2c3d-7", 1, 42)
    (span,) = traced.spans
    assert (span.name, span.kind) == ("publish", SpanKind.PRODUCER)
    assert span.parent is not None
    assert span.parent.span_id == int(SPAN, 16)
    assert read_traceparent(publishing.traceparent) == SpanContext(
        context_of(span).trace_id, context_of(span).span_id, True, context_of(span).trace_flags
    )
    assert dict(span.attributes or {}) == {
        "messaging.system": "riptide",
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.destination.name": "orders",
        "messaging.message.id": "0a1b2c3d-7",
        "messaging.message.body.size": 42,
    }


def test_a_batch_has_one_span_that_says_how_many(traced: Traced) -> None:
    with traced.tracing.publishing("orders", "") as publishing:
        publishing.accepted("0a1b2c3d-7", 100, 4200)
    (span,) = traced.spans
    assert span.parent is None
    assert (span.attributes or {})["messaging.batch.message_count"] == 100
    assert "messaging.message.id" not in (span.attributes or {})


def test_a_publish_that_fails_is_an_error_of_its_type(traced: Traced) -> None:
    with pytest.raises(KeyError), traced.tracing.publishing("orders", ""):
        raise KeyError("boom")
    (span,) = traced.spans
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "KeyError"
    assert not get_current_span().get_span_context().is_valid


def test_a_publisher_that_is_not_sampled_is_not_but_its_messages_say_so(traced: Traced) -> None:
    with traced.tracing.publishing("orders", NOT_SAMPLED) as publishing:
        pass
    assert not traced.spans
    assert publishing.traceparent.startswith(f"00-{TRACE}-")
    assert publishing.traceparent.endswith("-00")


def test_a_live_delivery_is_in_the_trace_of_its_publish_and_linked_to_it(traced: Traced) -> None:
    traced.deliver()
    (span,) = traced.spans
    assert span.name == "deliver"
    assert context_of(span).trace_id == int(TRACE, 16)
    assert span.parent is not None
    assert span.parent.span_id == span.links[0].context.span_id == int(SPAN, 16)
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.end_time - span.start_time == 2_000_000
    assert span.end_time == pytest.approx(time.time_ns(), abs=60_000_000_000)
    attributes = dict(span.attributes or {})
    assert attributes["riptide.consumers"] == 2
    assert attributes["messaging.batch.message_count"] == 3
    assert attributes["messaging.destination.name"] == "orders"


def test_a_replayed_delivery_is_a_trace_of_its_own_linked_to_the_publish(traced: Traced) -> None:
    traced.deliver(source=Source.REPLAY)
    (span,) = traced.spans
    assert span.parent is None
    assert context_of(span).trace_id != int(TRACE, 16)
    assert span.links[0].context.trace_id == int(TRACE, 16)
    assert span.start_time is not None
    assert span.end_time is not None
    # The span does not include the days since the message was published.
    assert span.end_time - span.start_time == 1_000_000


def test_what_is_not_sampled_is_not_delivered_with_a_span(traced: Traced) -> None:
    traced.deliver(NOT_SAMPLED)
    assert not traced.spans


def test_delivery_spans_have_a_limit_in_each_second(traced: Traced) -> None:
    for _ in range(2):
        for _ in range(3 * DELIVERY_SPANS_PER_SECOND):
            traced.deliver()
        traced.clock.advance(1)
    assert len(traced.spans) == 2 * DELIVERY_SPANS_PER_SECOND


def test_a_stream_has_a_span_at_each_end_and_they_are_linked(traced: Traced) -> None:
    tracing = traced.tracing
    tracing.stream_opening("c", StreamProtocol.SSE, "orders", SAMPLED)
    assert not traced.spans
    opened = tracing.trace_of("c")
    tracing.stream_opened("c")
    tracing.stream_opened("c")
    assert [span.name for span in traced.spans] == ["stream open"]
    totals = ConnectionTotals(sent=10, dropped=2, size_bytes=300)
    tracing.stream_closed("c", StreamProtocol.SSE, CloseReason.CLIENT_STALLED, 12.5, totals)
    opening, closing = traced.spans
    assert context_of(opening) == opened
    assert opening.parent is not None
    assert opening.parent.span_id == int(SPAN, 16)
    assert (closing.name, closing.parent) == ("stream close", None)
    assert [link.context for link in closing.links] == [opened]
    assert closing.status.status_code is StatusCode.ERROR
    attributes = dict(closing.attributes or {})
    assert attributes["riptide.connection_id"] == "c"
    assert attributes["riptide.close_reason"] == "client_stalled"
    assert attributes["error.type"] == "slow_consumer"
    assert attributes["riptide.duration"] == 12.5
    assert attributes["riptide.messages.sent"] == 10
    assert attributes["riptide.messages.dropped"] == 2
    assert attributes["riptide.bytes.sent"] == 300
    assert tracing.trace_of("c") is None
    # A second close makes no span.
    tracing.stream_closed("c", StreamProtocol.SSE, CloseReason.CLIENT_STALLED, 12.5, totals)
    assert len(traced.spans) == 2


def test_a_stream_that_ends_before_its_head_was_sent_did_not_open(traced: Traced) -> None:
    traced.tracing.stream_opening("c", StreamProtocol.SSE, "", "")
    traced.tracing.stream_closed("c", StreamProtocol.SSE, CloseReason.CLIENT_VANISHED, 0.1, None)
    opening, closing = traced.spans
    assert opening.status.status_code is StatusCode.ERROR
    assert closing.status.status_code is StatusCode.UNSET
    assert "riptide.messages.sent" not in (closing.attributes or {})


def test_nothing_is_kept_of_streams_that_are_not_sampled() -> None:
    traced = Traced(DEFAULT_OFF)
    traced.tracing.stream_opening("c", StreamProtocol.SSE, "orders", "")
    assert traced.tracing.trace_of("c") is None
    assert not traced.tracing._open
    traced.tracing.stream_opened("c")
    traced.tracing.stream_closed("c", StreamProtocol.SSE, CloseReason.COMPLETED, 1, None)
    assert not traced.spans


def test_both_ends_of_a_stream_are_sampled_alike() -> None:
    traced = Traced(ParentBasedTraceIdRatio(0.5))
    for number in range(100):
        connection = str(number)
        traced.tracing.stream_opening(connection, StreamProtocol.SSE, "orders", "")
        traced.tracing.stream_opened(connection)
        traced.tracing.stream_closed(connection, StreamProtocol.SSE, CloseReason.COMPLETED, 1, None)
    names = [span.name for span in traced.spans]
    assert 0 < len(names) < 200
    assert names.count("stream open") == names.count("stream close")


@pytest.mark.parametrize(
    ("sampler", "flags", "kept"),
    [
        (DEFAULT_ON, SAMPLED, True),
        (DEFAULT_ON, NOT_SAMPLED, False),
        (DEFAULT_OFF, SAMPLED, True),
        (ALWAYS_OFF, SAMPLED, False),
        (ALWAYS_ON, NOT_SAMPLED, True),
    ],
)
def test_a_link_decides_only_where_a_parent_would(
    sampler: Sampler, flags: str, *, kept: bool
) -> None:
    linked = read_traceparent(flags)
    assert linked is not None
    result = LinkedSampler(sampler).should_sample(None, 1, "span", links=[Link(linked)])
    assert (result.decision is Decision.RECORD_AND_SAMPLE) is kept
    assert "LinkedSampler" in LinkedSampler(sampler).get_description()


def test_the_lifecycle_makes_them_and_the_exemplars_that_lead_to_them(traced: Traced) -> None:
    metrics = StreamingMetrics(traced.clock.seconds)
    lifecycle = StreamLifecycleManager(metrics, traced.clock.ns, traced.tracing)
    with lifecycle.publishing("orders", SAMPLED) as publishing:
        pass
    trace = read_traceparent(publishing.traceparent)
    lifecycle.connection_established("c", StreamProtocol.SSE, "orders", SAMPLED)
    lifecycle.stream_started("c", "r", None)
    now = traced.clock.ns()
    lifecycle.items_sent("c", MessageBatch(1, 10, [now - 1000], trace), Source.LIVE)
    lifecycle.items_fanned_out(
        StreamProtocol.NDJSON, "orders", MessageBatch(1, 10, [now - 1000], trace), [now, now]
    )
    lifecycle.items_fanned_out(
        StreamProtocol.NDJSON, "orders", MessageBatch(1, 10, [now - 1000]), [now, now]
    )
    # The second of three messages is the traced one.
    ages = [now - 3_000_000_000, now - 200_000, now]
    lifecycle.items_fanned_out(
        StreamProtocol.WEBSOCKET, "orders", MessageBatch(3, 30, ages, trace, 1), [now]
    )
    lifecycle.connection_closed("c", CloseReason.COMPLETED, ConnectionTotals(1, 0, 10))
    names = [span.name for span in traced.spans]
    assert names == ["publish", "stream open", "deliver", "deliver", "deliver", "stream close"]
    assert trace is not None
    for latency in (metrics.sse.live_latency, metrics.ndjson.live_latency):
        (exemplar,) = latency.exemplars.all() if latency.exemplars else []
        assert (exemplar.trace_id, exemplar.span_id) == (trace.trace_id, trace.span_id)
    (exemplar,) = metrics.websocket.live_latency.exemplars.all()  # type: ignore[union-attr]  # exemplars were kept
    assert exemplar.value == pytest.approx(0.0002)
