"""Faults of the exporter's own reader, each shown there first; ours has none of them."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from prometheus_client import CollectorRegistry, generate_latest

from riptide_telemetry.instruments.producer import HistogramProducer
from riptide_telemetry.prometheus.collector import ScrapeCollector, ScrapedReader
from tests.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.sdk.metrics.export import MetricReader, MetricsData

SCRAPERS = 4
SCOPE_LABELS = ',otel_scope_name="test",otel_scope_schema_url="",otel_scope_version=""'


class Process:
    """A process with one reader. Each collection calls ``hold``, which may block."""

    def __init__(self, make_reader: Callable[[CollectorRegistry], MetricReader]) -> None:
        self.registry = CollectorRegistry()
        self.hold: Callable[[], None] = lambda: None
        self.provider = MeterProvider(
            [make_reader(self.registry)],
            shutdown_on_exit=False,
            views=[
                View(
                    instrument_name="exponential",
                    aggregation=ExponentialBucketHistogramAggregation(),
                )
            ],
        )
        self.meter = self.provider.get_meter("test")
        self.meter.create_observable_gauge("size", [self._observe])

    def _observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        self.hold()
        return [Observation(1)]

    def scrape(self) -> Counter[str]:
        lines = generate_latest(self.registry).decode().splitlines()
        return Counter(line for line in lines if not line.startswith("#"))


@pytest.fixture
def stock() -> Process:
    return Process(stock_reader)


def stock_reader(registry: CollectorRegistry) -> MetricReader:
    return PrometheusMetricReader(registry=registry)


@pytest.fixture
def ours() -> Process:
    return Process(make_scraped_reader)


def make_scraped_reader(registry: CollectorRegistry) -> MetricReader:
    reader = ScrapedReader()
    registry.register(ScrapeCollector(reader, HistogramProducer({})))
    return reader


def flush_on_another_thread(process: Process) -> None:
    flush = threading.Thread(target=process.provider.force_flush)
    flush.start()
    flush.join()


def test_the_stock_reader_repeats_everything_after_a_flush(stock: Process) -> None:
    stock.provider.force_flush()
    assert min(stock.scrape().values()) > 1


def test_a_flush_between_scrapes_leaves_no_trace(ours: Process) -> None:
    clean = ours.scrape()
    assert max(clean.values()) == 1
    ours.provider.force_flush()
    flush_on_another_thread(ours)
    assert ours.scrape() == clean


def test_a_flush_on_another_thread_during_a_scrape_leaves_no_trace(
    ours: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One flush delivers its data just before the scrape's, and one just after.
    clean = ours.scrape()
    (reader,) = ours.provider._metric_readers
    receive = reader._receive_metrics

    def receive_between_flushes(metrics_data: MetricsData, **_: Any) -> None:
        monkeypatch.setattr(reader, "_receive_metrics", receive)
        flush_on_another_thread(ours)
        receive(metrics_data)
        flush_on_another_thread(ours)

    monkeypatch.setattr(reader, "_receive_metrics", receive_between_flushes)
    assert ours.scrape() == clean
    assert ours.scrape() == clean


def test_what_others_make_the_reader_collect_leaves_no_trace(ours: Process) -> None:
    clean = ours.scrape()
    (reader,) = ours.provider._metric_readers
    reader.collect()
    assert ours.scrape() == clean


def test_the_stock_reader_mixes_up_scrapes_that_meet(stock: Process) -> None:
    # One scrape has collected, and has not read the queue, when another collects and reads it.
    clean = stock.scrape()
    collector = next(iter(stock.registry._collector_to_names))
    collect = collector._callback  # type: ignore[attr-defined]  # the stock collector's
    pages: list[Counter[str]] = []

    def collect_before_another_scrape() -> None:
        collector._callback = collect  # type: ignore[attr-defined]  # as above
        collect()
        pages.append(stock.scrape())

    collector._callback = collect_before_another_scrape  # type: ignore[attr-defined]  # as above
    pages.append(stock.scrape())
    assert len(pages) == 2
    assert clean not in pages


def test_scrapes_that_meet_each_get_one_whole_page(ours: Process) -> None:
    clean = ours.scrape()
    pages: list[Counter[str]] = []
    start = threading.Barrier(SCRAPERS)

    def scrape() -> None:
        start.wait(DEADLINE_S)
        pages.extend(ours.scrape() for _ in range(25))

    scrapers = [threading.Thread(target=scrape) for _ in range(SCRAPERS)]
    for scraper in scrapers:
        scraper.start()
    for scraper in scrapers:
        scraper.join()
    assert pages == [clean] * (25 * SCRAPERS)


def test_a_scrape_waits_while_another_collects(ours: Process) -> None:
    inside, leave = threading.Event(), threading.Event()
    entered = []

    def hold() -> None:
        entered.append(threading.current_thread().name)
        inside.set()
        leave.wait()

    ours.hold = hold
    scrapers = [threading.Thread(target=ours.scrape, name=name) for name in ("first", "second")]
    scrapers[0].start()
    assert inside.wait(DEADLINE_S)
    inside.clear()
    scrapers[1].start()
    assert not inside.wait(0.1)
    assert entered == ["first"]
    leave.set()
    for scraper in scrapers:
        scraper.join()
    assert entered == ["first", "second"]


def test_the_stock_reader_fails_every_scrape_for_one_exponential_histogram(
    stock: Process,
) -> None:
    stock.meter.create_histogram("exponential").record(1)
    with pytest.raises(AttributeError):
        stock.scrape()


def test_an_exponential_histogram_is_left_out_alone_and_logged_once(
    ours: Process, caplog: pytest.LogCaptureFixture
) -> None:
    clean = ours.scrape()
    ours.meter.create_histogram("exponential").record(1)
    with caplog.at_level(logging.WARNING):
        assert ours.scrape() == clean
        assert ours.scrape() == clean
    assert [record.getMessage() for record in caplog.records] == [
        "metric exponential is left out of /metrics: the text formats have no ExponentialHistogram"
    ]


def test_the_stock_reader_spells_the_bounds_of_a_histogram_as_they_were_given(
    stock: Process,
) -> None:
    stock.meter.create_histogram("wait", explicit_bucket_boundaries_advisory=[1, 2.5]).record(1)
    assert 'wait_bucket{le="1"} 1.0' in "\n".join(stock.scrape()).replace(SCOPE_LABELS, "")


def test_a_bound_is_spelt_as_a_float_whoever_gave_it(ours: Process) -> None:
    ours.meter.create_histogram("wait", explicit_bucket_boundaries_advisory=[1, 2.5]).record(1)
    page = ours.scrape()
    assert page['wait_bucket{le="1.0"} 1.0'] == 1
    assert page['wait_bucket{le="2.5"} 1.0'] == 1


def test_there_are_no_scope_labels(ours: Process) -> None:
    assert "size 1.0" in ours.scrape()


def test_a_scrape_after_shutdown_is_empty(ours: Process) -> None:
    ours.provider.shutdown()
    assert not ours.scrape()


def test_the_sdk_s_own_metrics_call_the_reader_what_they_call_the_exporter_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")
    series = "otel_sdk_metric_reader_collection_duration_seconds_count"
    for make_reader in (stock_reader, make_scraped_reader):
        process = Process(make_reader)
        process.scrape()
        (line,) = [line for line in process.scrape() if line.startswith(series)]
        assert 'otel_component_type="prometheus_http_text_metric_exporter"' in line
