"""OpenTelemetry's metrics as metric families of prometheus_client.

The rules are those of the OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility".
The exporter's own functions make the names, so that an instrument has the same name here as in any
other application that uses the exporter.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypedDict

from opentelemetry.exporter.prometheus._mapping import (
    map_unit,
    sanitize_attribute,
    sanitize_full_name,
)
from opentelemetry.sdk.metrics.export import Gauge, Histogram, Sum
from opentelemetry.trace import format_span_id, format_trace_id
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.samples import Exemplar

from riptide_telemetry.catalog import CATALOG

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opentelemetry.sdk.metrics.export import HistogramDataPoint, Metric, NumberDataPoint
    from prometheus_client import Metric as Family

    Bucket = tuple[str, float] | tuple[str, float, Exemplar]

NANOSECONDS = 1_000_000_000

# Histograms of other libraries are shown as the exporter shows them: without exemplars.
_WITH_EXEMPLARS = frozenset(definition.name for definition in CATALOG)


class _Description(TypedDict):
    """The arguments with which every family is constructed."""

    name: str
    documentation: str
    labels: Sequence[str]
    unit: str


def target_info(attributes: Mapping[str, Any]) -> Family:
    """Return the family that describes the process by the attributes of its resource."""
    labels = {sanitize_attribute(key): _label_value(value) for key, value in attributes.items()}
    return InfoMetricFamily("target", "Target metadata", labels)


def family_of(metric: Metric) -> Family | None:
    """Return the metric's family, or None if the text formats have no type for it.

    They have none for exponential histograms. An up-down counter becomes a gauge. The metric's
    values must be cumulative.
    """
    data = metric.data
    if not isinstance(data, Sum | Gauge | Histogram):
        return None
    labels, rows = _labels(data.data_points)
    description: _Description = {
        "name": sanitize_full_name(metric.name),
        "documentation": metric.description or "",
        "labels": labels,
        "unit": map_unit(metric.unit or ""),
    }
    if isinstance(data, Histogram):
        histogram = HistogramMetricFamily(**description)
        for row, point in zip(rows, data.data_points, strict=True):
            exemplars = _exemplars(point) if metric.name in _WITH_EXEMPLARS else {}
            histogram.add_metric(row, _buckets(point, exemplars), point.sum)
        return histogram
    monotonic = isinstance(data, Sum) and data.is_monotonic
    family = (CounterMetricFamily if monotonic else GaugeMetricFamily)(**description)
    for row, number in zip(rows, data.data_points, strict=True):
        family.add_metric(row, number.value)
    return family


def merged(families: Iterable[Family]) -> list[Family]:
    """Return the families, those of the same name, type, unit and description merged.

    Several scopes may have an instrument of the same name. If their descriptions differ, the
    families stay apart, as in the exporter.
    """
    merged: dict[tuple[str, ...], Family] = {}
    for family in families:
        key = family.name, family.type, family.unit, family.documentation
        first = merged.setdefault(key, family)
        if first is not family:
            first.samples.extend(family.samples)
    return list(merged.values())


def _labels(
    points: Sequence[NumberDataPoint | HistogramDataPoint],
) -> tuple[list[str], list[list[str]]]:
    """Return the names of all labels, and for each point their values ("" if it lacks one)."""
    labels = [
        {
            sanitize_attribute(key): _label_value(value)
            for key, value in (point.attributes or {}).items()
        }
        for point in points
    ]
    names = sorted({name for row in labels for name in row})
    return names, [[row.get(name, "") for name in names] for row in labels]


def _label_value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _buckets(point: HistogramDataPoint, exemplars: Mapping[int, Exemplar]) -> list[Bucket]:
    """Return upper bound, cumulative count and, where there is one, the exemplar of each bucket."""
    # Integer bounds are printed as floats, too: "1" and "1.0" would be two label values.
    bounds = [*(str(float(bound)) for bound in point.explicit_bounds), "+Inf"]
    counts = accumulate(point.bucket_counts)
    return [
        (bound, count, exemplars[position]) if position in exemplars else (bound, count)
        for position, (bound, count) in enumerate(zip(bounds, counts, strict=True))
    ]


def _exemplars(point: HistogramDataPoint) -> dict[int, Exemplar]:
    """Return the exemplars that name a trace, by the position of their bucket."""
    return {
        bisect_left(point.explicit_bounds, exemplar.value): Exemplar(
            {
                "trace_id": format_trace_id(exemplar.trace_id),
                "span_id": format_span_id(exemplar.span_id),
            },
            exemplar.value,
            exemplar.time_unix_nano / NANOSECONDS,
        )
        for exemplar in point.exemplars
        if exemplar.trace_id is not None and exemplar.span_id is not None
    }
