from __future__ import annotations

import pytest
from opentelemetry.trace import get_current_span

from riptide_telemetry.batch import MessageBatch
from riptide_telemetry.labels import CloseReason, Source, StreamProtocol
from riptide_telemetry.traces.trace_context import read_traceparent
from riptide_telemetry.traces.tracing import ConnectionTotals, Tracing

TEXT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(("given", "carried"), [(TEXT, TEXT), ("", ""), ("x" * 55, "")])
def test_without_spans_messages_carry_on_the_publishers_trace(given: str, carried: str) -> None:
    with Tracing().publishing("orders", given) as publishing:
        assert publishing.traceparent == carried
        assert not get_current_span().get_span_context().is_valid
        publishing.accepted("id", 1, 1)


def test_all_else_does_nothing() -> None:
    tracing, trace = Tracing(), read_traceparent(TEXT)
    assert trace is not None
    tracing.stream_opening("c", StreamProtocol.SSE, "orders", TEXT)
    tracing.stream_opened("c")
    tracing.delivered(
        StreamProtocol.SSE, Source.LIVE, "orders", MessageBatch(1, 10, [0], trace), [1]
    )
    totals = ConnectionTotals(1, 2, 3)
    tracing.stream_closed("c", StreamProtocol.SSE, CloseReason.COMPLETED, 1.0, totals)
    assert tracing.trace_of("c") is None
