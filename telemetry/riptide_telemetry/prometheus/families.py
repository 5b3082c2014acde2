"""Puts exemplars, which the exporter drops, back beside the buckets they belong to."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics.export import Histogram
from opentelemetry.trace import format_span_id, format_trace_id
from prometheus_client.samples import Exemplar

from riptide_telemetry.catalog import CATALOG

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.sdk.metrics.export import Metric, MetricsData
    from prometheus_client import Metric as Family

    Bucket = tuple[str, frozenset[tuple[str, str]]]

_FAMILY_NAMES = {definition.name: definition.prometheus_name for definition in CATALOG}


def attach_exemplars(families: list[Family], data: MetricsData) -> list[Family]:
    """Give the families' buckets the exemplars of the histograms of the catalog.

    They appear in OpenMetrics output; the older text format has no place for them.
    """
    exemplars: dict[Bucket, Exemplar] = {}
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                exemplars |= _by_bucket(metric)
    if exemplars:
        for family in families:
            family.samples = [
                sample._replace(exemplar=exemplars.get(_bucket(sample.name, sample.labels)))
                for sample in family.samples
            ]
    return families


def _bucket(sample_name: str, labels: Mapping[str, str]) -> Bucket:
    return sample_name, frozenset(labels.items())


def _by_bucket(metric: Metric) -> dict[Bucket, Exemplar]:
    return dict(_buckets(metric)) if metric.name in _FAMILY_NAMES else {}


def _buckets(metric: Metric) -> Iterator[tuple[Bucket, Exemplar]]:
    if not isinstance(metric.data, Histogram):
        return
    name = f"{_FAMILY_NAMES[metric.name]}_bucket"
    for point in metric.data.data_points:
        bounds = [*map(str, point.explicit_bounds), "+Inf"]
        labels = {key: str(value) for key, value in (point.attributes or {}).items()}
        for exemplar in point.exemplars:
            if exemplar.trace_id is None or exemplar.span_id is None:
                continue
            le = bounds[bisect_left(point.explicit_bounds, exemplar.value)]
            trace = {
                "trace_id": format_trace_id(exemplar.trace_id),
                "span_id": format_span_id(exemplar.span_id),
            }
            yield (
                _bucket(name, labels | {"le": le}),
                Exemplar(trace, exemplar.value, exemplar.time_unix_nano / 1e9),
            )
