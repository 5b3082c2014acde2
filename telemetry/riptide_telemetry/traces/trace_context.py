"""The W3C trace context in its text form, as it comes with a request and travels with a message."""

from __future__ import annotations

import functools

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_HEADER = "traceparent"
_propagator = TraceContextTextMapPropagator()


def sampled_trace(traceparent: str) -> SpanContext | None:
    """Return the span that a ``traceparent`` names, or None if it is not sampled."""
    if not traceparent:
        return None
    span = read_traceparent(traceparent)
    return span if span is not None and span.trace_flags.sampled else None


@functools.lru_cache(maxsize=256)
def read_traceparent(text: str) -> SpanContext | None:
    """Return the span that a ``traceparent`` names, or None if the text is not valid."""
    context = get_current_span(context_of(text)).get_span_context()
    return context if context.is_valid else None


def write_traceparent(span: SpanContext) -> str:
    """Return the ``traceparent`` that names a span."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, set_span_in_context(NonRecordingSpan(span), Context()))
    return carrier.get(_HEADER, "")


def context_of(traceparent: str) -> Context:
    """Return a context with the named span as the parent, or an empty one if there is none."""
    return _propagator.extract({_HEADER: traceparent}, Context())
