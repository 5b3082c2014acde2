from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from riptide_telemetry.batch import MessageBatch
from riptide_telemetry.instruments.producer import HistogramProducer, ProducingReader
from riptide_telemetry.labels import DropReason, Source, StreamProtocol
from riptide_telemetry.prometheus.collector import ScrapeCollector, ScrapedReader
from riptide_telemetry.providers import Telemetry, start_telemetry

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import Meter

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TRACE = SpanContext(trace_id=0xABC, span_id=0xDEF, is_remote=True)
BUCKET = "riptide_streaming_delivery_latency_seconds_bucket"
# Families that are not the provider's, and change from scrape to scrape.
OF_THE_PROCESS = re.compile(r"(# \w+ )?(process|python)_")
ENCODERS = [generate_latest, generate_openmetrics]
ODD_NAMES = [
    ("plain", ""),
    ("a.b", "s"),
    ("a-b/c", "m/s"),
    ("http.server.request.duration", "s"),
    ("jobs_total", "1"),
    ("queue.size", "By"),
    ("share", "%"),
    ("things", "{thing}"),
    ("odd", "foo/bar"),
    ("long", "ms"),
    ("rate", "/s"),
    ("age_seconds", "s"),
    ("x__y", "KiBy/min"),
    ("annotated", "{event}/s"),
    ("unknown", "furlong"),
]


class StockReader(ProducingReader, PrometheusMetricReader):
    """The exporter's own reader, with our histograms."""


class Pages:
    """One provider, as the stock exporter and as our collector show it."""

    def __init__(self) -> None:
        self.stock, self.ours = CollectorRegistry(), CollectorRegistry()
        reader = ScrapedReader()
        resource = Resource({"service.name": 'quo"ted', "1st.key": "v", "a-list": ["x", "y"]})
        self.provider = MeterProvider(
            [PrometheusMetricReader(scope_info_enabled=False, registry=self.stock), reader],
            resource=resource,
            shutdown_on_exit=False,
        )
        self.ours.register(ScrapeCollector(reader, HistogramProducer({})))


def record_with_every_instrument(meter: Meter, name: str, unit: str) -> None:
    text = f"Of {name},\nwith a \\."
    counter = meter.create_counter(f"{name}.counter", unit, text)
    counter.add(2.5, {"k.1": "v", "1b": 3, "z": True, "list": [1, 2]})
    counter.add(1, {"other": 'quo"ted \\ and\nbroken'})
    meter.create_up_down_counter(f"{name}.up_down_counter", unit, text).add(-1, {"k": "v"})
    meter.create_gauge(f"{name}.gauge", unit, text).set(7, {"k": 1.5})
    bounds = [0.0, 1e-7, 0.5, 1.0, 1e17]
    histogram = meter.create_histogram(
        f"{name}.histogram", unit, text, explicit_bucket_boundaries_advisory=bounds
    )
    for value, labels in ((0, {"a": "b"}), (0.7, {"a": "b"}), (3, {})):
        histogram.record(value, labels)
    # A histogram with a negative bound is shown without a sum, which may fall.
    meter.create_histogram(
        f"{name}.negative", unit, text, explicit_bucket_boundaries_advisory=[-1.0, 1.0]
    ).record(0)
    # A histogram without measurements is shown as HELP and TYPE only.
    meter.create_histogram(f"{name}.empty", unit, text)


@pytest.mark.parametrize("encode", ENCODERS)
@pytest.mark.parametrize(("name", "unit"), ODD_NAMES)
def test_any_instrument_looks_as_the_stock_exporter_shows_it(
    name: str, unit: str, encode: Callable[[CollectorRegistry], bytes]
) -> None:
    pages = Pages()
    record_with_every_instrument(pages.provider.get_meter("test"), name, unit)
    expected = encode(pages.stock).decode()
    assert len(expected.splitlines()) > 30
    assert encode(pages.ours).decode() == expected


@pytest.mark.parametrize("encode", ENCODERS)
def test_instruments_of_one_name_in_several_scopes_look_as_the_stock_exporter_shows_them(
    encode: Callable[[CollectorRegistry], bytes],
) -> None:
    pages = Pages()
    for scope in ("one", "two"):
        meter = pages.provider.get_meter(scope)
        meter.create_counter("same", description="Same.").add(1, {"scope": scope})
        meter.create_counter("described", description=f"By {scope}.").add(1, {"scope": scope})
    expected = encode(pages.stock).decode()
    assert expected.count("# TYPE same") == 1
    assert expected.count("# TYPE described") == 2
    assert encode(pages.ours).decode() == expected


def test_scopes_that_label_one_metric_differently_keep_each_its_labels() -> None:
    # The stock exporter gives the second scope's values the names of the first one's labels.
    pages = Pages()
    pages.provider.get_meter("one").create_counter("same").add(1, {"a": "of one"})
    pages.provider.get_meter("two").create_counter("same").add(1, {"b": "of two"})
    assert 'same_total{a="of two"} 1.0' in generate_latest(pages.stock).decode()
    page = generate_latest(pages.ours).decode()
    assert 'same_total{a="of one"} 1.0\nsame_total{b="of two"} 1.0\n' in page


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_the_catalog_looks_as_the_stock_exporter_shows_it(accept: str) -> None:
    registry = CollectorRegistry()
    stock = StockReader(scope_info_enabled=False, registry=registry)
    telemetry = start_telemetry("1.2.3", [stock], topic_prefixes=["orders"])
    for protocol in StreamProtocol:
        telemetry.lifecycle.connection_established(protocol, protocol, "orders.1")
        telemetry.lifecycle.items_sent(protocol, MessageBatch(1, 1, [0]), Source.LIVE)
        telemetry.lifecycle.item_dropped(protocol, DropReason.CONFLATED)
    encode = generate_openmetrics if accept else generate_latest
    page = telemetry.exposition.render(accept).body.decode()
    ours = [line for line in page.splitlines() if not OF_THE_PROCESS.match(line)]
    assert len(ours) > 300
    assert ours == encode(registry).decode().splitlines()


@pytest.fixture
def telemetry() -> Telemetry:
    telemetry = start_telemetry("1.2.3")
    telemetry.lifecycle.connection_established("c", StreamProtocol.SSE)
    # The age is so great that it is in the last bucket, whatever the clock says.
    telemetry.lifecycle.items_sent("c", MessageBatch(1, 1, [-(10**18)], TRACE), Source.REPLAY)
    return telemetry


def test_an_exemplar_stands_beside_its_bucket_and_nowhere_else(telemetry: Telemetry) -> None:
    page = telemetry.exposition.render(OPENMETRICS).body.decode()
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.exemplar
        for family in text_string_to_metric_families(page)  # type: ignore[no-untyped-call]  # the parser has no types
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
    telemetry.lifecycle.connection_established("c", StreamProtocol.SSE)
    telemetry.lifecycle.items_sent("c", MessageBatch(1, 1, [0]), Source.LIVE)
    assert "trace_id" not in telemetry.exposition.render(OPENMETRICS).body.decode()


def test_histograms_of_other_libraries_show_no_exemplars() -> None:
    telemetry = start_telemetry("1.2.3")
    histogram = telemetry.meter_provider.get_meter("other").create_histogram("other", "s")
    sampled = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    histogram.record(1, {}, set_span_in_context(NonRecordingSpan(sampled)))
    page = telemetry.exposition.render(OPENMETRICS).body.decode()
    assert "other_seconds_count 1.0" in page
    assert "trace_id" not in page
