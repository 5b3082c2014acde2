"""The metrics of several processes in one scrape."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
)
from prometheus_client import PlatformCollector
from prometheus_client.registry import Collector

from riptide_telemetry.catalog import CATALOG, Kind
from riptide_telemetry.merging.rules import active_connections, merged, recent
from riptide_telemetry.merging.snapshot import read
from riptide_telemetry.prometheus.families import NANOSECONDS, family_of, target_info
from riptide_telemetry.prometheus.process_metrics import process_families
from riptide_telemetry.state.ratios import RATIOS, Ratios

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client import Metric as Family

    from riptide_telemetry.catalog import MetricDefinition
    from riptide_telemetry.merging.snapshot import Buckets, Snapshot


class MergedCollector(Collector):
    """Gives a registry the metrics of all processes whose snapshots ``read`` returns.

    ``resource`` has attributes of all of them. Left out are metrics that only a process has: those
    of its plain requests, of its garbage collector and of its SDK.
    """

    def __init__(
        self,
        read_all: Callable[[], Iterable[Snapshot]],
        resource: Mapping[str, Any],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read_all = read_all
        self._resource = resource
        self._clock = clock

    def collect(self) -> list[Family]:
        """Merge for one scrape."""
        whole = merged(self._read_all())
        families: list[Family] = [*process_families({**whole.gauges, **whole.counts})]
        families += PlatformCollector(registry=None).collect()
        if self._resource:
            families.append(target_info(self._resource))
        made = (family_of(metric) for metric in self._metrics(whole))
        return [*families, *(family for family in made if family is not None)]

    def _metrics(self, whole: Snapshot) -> Iterator[Metric]:
        numbers_of: dict[str, Mapping[str, float]] = {**whole.gauges, **whole.counts}
        ratios = Ratios(recent(whole, self._clock()), active_connections(whole))
        for definition in CATALOG:
            if definition.kind is Kind.HISTOGRAM:
                histograms = whole.histograms.get(definition.name)
                if histograms:
                    yield _metric(definition, _histogram(definition, histograms))
            elif ratio := RATIOS.get(definition):
                # Nothing is recorded if there are no histograms, which always exist.
                if whole.histograms:
                    yield _metric(definition, Gauge([_point("", ratio(ratios))]))
            elif numbers := numbers_of.get(definition.name):
                points = [_point(labels, number) for labels, number in numbers.items()]
                yield _metric(definition, _data(definition, points))


def _metric(definition: MetricDefinition, data: Sum | Gauge | Histogram) -> Metric:
    return Metric(definition.name, definition.description, definition.unit, data)


def _data(definition: MetricDefinition, points: list[NumberDataPoint]) -> Sum | Gauge:
    if definition.kind is Kind.COUNTER:
        return Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True)
    return Gauge(points)


def _point(labels: str, number: float) -> NumberDataPoint:
    return NumberDataPoint(read(labels), 0, 0, number)


def _histogram(definition: MetricDefinition, series: Mapping[str, Buckets]) -> Histogram:
    points = [
        HistogramDataPoint(
            attributes=read(labels),
            start_time_unix_nano=0,
            time_unix_nano=0,
            count=sum(buckets.counts),
            sum=buckets.sum_ns / NANOSECONDS,
            bucket_counts=buckets.counts,
            explicit_bounds=definition.bounds,
            min=0,
            max=0,
            exemplars=[
                Exemplar({}, value, unix_ns, span_id, trace_id)
                for value, unix_ns, trace_id, span_id in buckets.exemplars.values()
            ],
        )
        for labels, buckets in series.items()
    ]
    return Histogram(points, AggregationTemporality.CUMULATIVE)
