from __future__ import annotations

import pytest
from opentelemetry.trace import SpanContext
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from riptide_telemetry.labels import Protocol, Source
from riptide_telemetry.providers import Telemetry, start_telemetry

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TRACE = SpanContext(trace_id=0xABC, span_id=0xDEF, is_remote=True)
BUCKET = "riptide_streaming_delivery_latency_seconds_bucket"


@pytest.fixture
def telemetry() -> Telemetry:
    telemetry = start_telemetry("1.2.3")
    telemetry.lifecycle.connection_established("c", Protocol.SSE)
    # An age so great that its bucket is known, whatever the clock says.
    telemetry.lifecycle.items_sent("c", 1, 1, [-(10**18)], Source.REPLAY, TRACE)
    return telemetry


def test_an_exemplar_stands_beside_its_bucket_and_nowhere_else(telemetry: Telemetry) -> None:
    page = telemetry.exposition.render(OPENMETRICS).body.decode()
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.exemplar
        for family in text_string_to_metric_families(page)  # type: ignore[no-untyped-call]  # it has no types
        for sample in family.samples
        if sample.exemplar
    }
    ((series, exemplar),) = found.items()
    assert series == (BUCKET, ("le", "+Inf"), ("protocol", "sse"), ("source", "replay"))
    assert exemplar is not None
    assert exemplar.labels == {"trace_id": f"{0xABC:032x}", "span_id": f"{0xDEF:016x}"}
    assert exemplar.value > 10**9
    assert exemplar.timestamp is not None


def test_the_text_format_has_no_exemplars(telemetry: Telemetry) -> None:
    page = telemetry.exposition.render().body.decode()
    assert "trace_id" not in page
    assert BUCKET in page


def test_no_exemplar_appears_where_no_trace_was_given() -> None:
    telemetry = start_telemetry("1.2.3")
    telemetry.lifecycle.connection_established("c", Protocol.SSE)
    telemetry.lifecycle.items_sent("c", 1, 1, [0], Source.LIVE)
    assert "trace_id" not in telemetry.exposition.render(OPENMETRICS).body.decode()
