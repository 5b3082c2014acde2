"""The spans of streams and messages, made by the SDK's tracer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    get_current_span,
    set_span_in_context,
    use_span,
)

from riptide_telemetry.labels import Source
from riptide_telemetry.traces.trace_context import context_of, write_traceparent
from riptide_telemetry.traces.tracing import ConnectionTotals, Publishing, Tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from opentelemetry.sdk.trace.sampling import SamplingResult
    from opentelemetry.trace import Tracer
    from opentelemetry.trace.span import TraceState
    from opentelemetry.util.types import Attributes
    from typing_extensions import Self

    from riptide_telemetry.batch import MessageBatch
    from riptide_telemetry.labels import CloseReason, StreamProtocol

# Without a limit, a replay would make a span for each of its traced batches and consumers.
DELIVERY_SPANS_PER_SECOND = 100
SECOND_NS = 1_000_000_000
SYSTEM = "riptide"


class LinkedSampler(Sampler):
    """Samples a root span that has links if a linked span is sampled, and only then.

    The end of a stream is a trace of its own, linked to its opening: sampled independently, most
    would lack the other half. All other spans are left to the given sampler, and every span if
    that sampler ignores parents.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def should_sample(  # noqa: PLR0913, PLR0917  # the SDK's signature
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Decide by the links, or else by the given sampler."""
        sampler = self._sampler
        is_root = not get_current_span(parent_context).get_span_context().is_valid
        if is_root and links and isinstance(sampler, ParentBased):
            sampled = any(link.context.trace_flags.sampled for link in links)
            sampler = ALWAYS_ON if sampled else ALWAYS_OFF
        return sampler.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        """Return the names of this sampler and of the given one."""
        return f"LinkedSampler{{{self._sampler.get_description()}}}"


class PublishSpan(Publishing):
    """A publish with a span, which is the current span until the publish ends."""

    __slots__ = ("_scope", "_span")

    def __init__(self, span: Span) -> None:
        super().__init__(write_traceparent(span.get_span_context()))
        self._span = span
        self._scope: AbstractContextManager[Span] = use_span(
            span, end_on_exit=True, record_exception=False, set_status_on_exception=False
        )

    def __enter__(self) -> Self:
        self._scope.__enter__()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self._span.set_attribute("error.type", type(error).__qualname__)
            self._span.set_status(StatusCode.ERROR, str(error)[:200])
        self._scope.__exit__(None, None, None)

    def accepted(self, first_id: str, count: int, size_bytes: int) -> None:
        """Add to the span the id of a single message, or the size of a batch, and the bytes."""
        if count == 1:
            self._span.set_attribute("messaging.message.id", first_id)
        else:
            self._span.set_attribute("messaging.batch.message_count", count)
        self._span.set_attribute("messaging.message.body.size", size_bytes)


class _OpenStream:
    """A sampled stream while it is open. ``span`` is None once its opening has ended."""

    __slots__ = ("context", "span", "topic")

    def __init__(self, span: Span, topic: str) -> None:
        self.span: Span | None = span
        self.context = span.get_span_context()
        self.topic = topic


class SpanTracing(Tracing):
    """Makes spans. Their names never contain a topic, because clients choose topics."""

    def __init__(self, tracer: Tracer, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._tracer = tracer
        self._clock_ns = clock_ns
        self._open: dict[str, _OpenStream] = {}
        self._spans_left = DELIVERY_SPANS_PER_SECOND
        self._second_ends_ns = 0

    def publishing(self, topic: str, traceparent: str) -> Publishing:
        """Begin the publish span, a child of the publisher's own span."""
        span = self._tracer.start_span(
            "publish",
            context_of(traceparent),
            SpanKind.PRODUCER,
            {
                "messaging.system": SYSTEM,
                "messaging.operation.name": "publish",
                "messaging.operation.type": "send",
                "messaging.destination.name": topic,
            },
        )
        return PublishSpan(span)

    def stream_opening(
        self, connection_id: str, protocol: StreamProtocol, topic: str, traceparent: str
    ) -> None:
        """Begin the opening span, a child of the client's own span."""
        span = self._tracer.start_span(
            "stream open",
            context_of(traceparent),
            SpanKind.SERVER,
            _stream_attributes(connection_id, protocol, topic),
        )
        if span.is_recording():
            self._open[connection_id] = _OpenStream(span, topic)

    def stream_opened(self, connection_id: str) -> None:
        """End the opening span."""
        stream = self._open.get(connection_id)
        if stream is not None and stream.span is not None:
            stream.span.end()
            stream.span = None

    def stream_closed(
        self,
        connection_id: str,
        protocol: StreamProtocol,
        reason: CloseReason,
        duration_s: float,
        totals: ConnectionTotals | None,
    ) -> None:
        """Make the closing span, of no duration, in a trace of its own linked to the opening."""
        stream = self._open.pop(connection_id, None)
        if stream is None:
            return
        error = reason.error_type
        if stream.span is not None:
            stream.span.set_status(StatusCode.ERROR, f"it ended before it was open: {reason}")
            stream.span.end()
        attributes: dict[str, str | int | float] = {
            **_stream_attributes(connection_id, protocol, stream.topic),
            "riptide.close_reason": str(reason),
            "riptide.duration": duration_s,
        }
        if totals is not None:
            attributes["riptide.messages.sent"] = totals.sent
            attributes["riptide.messages.dropped"] = totals.dropped
            attributes["riptide.bytes.sent"] = totals.size_bytes
        if error is not None:
            attributes["error.type"] = str(error)
        span = self._tracer.start_span(
            "stream close", Context(), SpanKind.SERVER, attributes, [Link(stream.context)]
        )
        if error is not None:
            span.set_status(StatusCode.ERROR, reason.meaning)
        span.end()

    def delivered(
        self,
        protocol: StreamProtocol,
        source: Source,
        topic: str,
        batch: MessageBatch,
        written_ns: Sequence[int],
    ) -> None:
        """Make a delivery span, unless this second has had 100 of them.

        A live delivery is a child of the publish span, and lasts from the acceptance to the last
        write. A replay may come days later: it is a trace of its own, and lasts from the first
        write. Both are linked to the publish span.
        """
        trace = batch.trace
        if trace is None or not trace.trace_flags.sampled or not self._reserve_span():
            return
        parent = Context()
        if source is Source.LIVE:
            parent = set_span_in_context(NonRecordingSpan(trace), parent)
        unix_offset_ns = time.time_ns() - self._clock_ns()
        attributes: dict[str, str | int] = {
            "messaging.system": SYSTEM,
            "messaging.operation.name": "deliver",
            "messaging.batch.message_count": batch.count,
            "riptide.protocol": str(protocol),
            "riptide.source": str(source),
            "riptide.consumers": len(written_ns),
        }
        if topic:
            attributes["messaging.destination.name"] = topic
        accepted_ns = batch.accepted_ns[batch.traced]
        started_ns = accepted_ns if source is Source.LIVE else written_ns[0]
        self._tracer.start_span(
            "deliver",
            parent,
            SpanKind.INTERNAL,
            attributes,
            [Link(trace)],
            start_time=unix_offset_ns + started_ns,
        ).end(unix_offset_ns + written_ns[-1])

    def trace_of(self, connection_id: str) -> SpanContext | None:
        """Return the span of the stream's opening, or None if it is not sampled."""
        stream = self._open.get(connection_id)
        return None if stream is None else stream.context

    def _reserve_span(self) -> bool:
        now = self._clock_ns()
        if now >= self._second_ends_ns:
            self._spans_left, self._second_ends_ns = DELIVERY_SPANS_PER_SECOND, now + SECOND_NS
        self._spans_left -= 1
        return self._spans_left >= 0


def _stream_attributes(connection_id: str, protocol: StreamProtocol, topic: str) -> dict[str, str]:
    attributes = {
        "messaging.system": SYSTEM,
        "riptide.connection_id": connection_id,
        "riptide.protocol": str(protocol),
    }
    return attributes | {"messaging.destination.name": topic} if topic else attributes
