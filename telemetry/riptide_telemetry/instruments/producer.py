"""Hands our own histograms to the SDK's readers as ready data points.

The specification calls this a MetricProducer (OpenTelemetry, Metrics SDK, "MetricProducer"). The
Python SDK has none, so each reader passes what it has collected through ``with_produced``.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    Metric,
    MetricReader,
    MetricsData,
    ScopeMetrics,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from riptide_telemetry.catalog import MetricDefinition
    from riptide_telemetry.state.bucket_histogram import BucketHistogram

SCOPE = "riptide"


class HistogramProducer:
    """Bucket histograms by metric and label set. All label sets exist from the start."""

    def __init__(
        self,
        histograms: Mapping[MetricDefinition, Sequence[tuple[Mapping[str, str], BucketHistogram]]],
    ) -> None:
        self.histograms = dict(histograms)
        self._start_unix_ns = time.time_ns()

    def produce(self) -> ScopeMetrics:
        """Return the histograms as they are now, cumulative since the start."""
        # A clock that was set back must not end the interval before its start.
        now = max(self._start_unix_ns, time.time_ns())
        metrics = [
            Metric(
                name=definition.name,
                description=definition.description,
                unit=definition.unit,
                data=Histogram(
                    data_points=[
                        histogram.data_point(labels, self._start_unix_ns, now)
                        for labels, histogram in series
                    ],
                    aggregation_temporality=AggregationTemporality.CUMULATIVE,
                ),
            )
            for definition, series in self.histograms.items()
        ]
        return ScopeMetrics(InstrumentationScope(SCOPE), metrics, "")


def with_produced(metrics_data: MetricsData, producer: HistogramProducer) -> MetricsData:
    """Return what a reader has collected, with the producer's histograms as they are now.

    If the SDK has collected nothing, none are added: there is no resource that they belong to.
    """
    if not metrics_data.resource_metrics:
        return metrics_data
    first, *others = metrics_data.resource_metrics
    scopes = _merged(first.scope_metrics, producer.produce())
    return MetricsData([dataclasses.replace(first, scope_metrics=scopes), *others])


class ProducingReader(MetricReader):
    """A mixin that adds the histograms of ``producer`` to a reader; it precedes the reader's class.

    ``start_telemetry`` sets ``producer`` on its extra readers.
    """

    producer: HistogramProducer | None = None

    def _receive_metrics(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> None:
        if self.producer is not None:
            metrics_data = with_produced(metrics_data, self.producer)
        super()._receive_metrics(metrics_data, timeout_millis, **kwargs)  # type: ignore[safe-super]  # that of the reader, whose class follows this mixin


def _merged(scopes: Sequence[ScopeMetrics], ours: ScopeMetrics) -> list[ScopeMetrics]:
    """Return the scopes, ours merged with an equal one: the OTLP encoder drops one of two."""
    equal = [scope for scope in scopes if scope.scope == ours.scope]
    others = [scope for scope in scopes if scope.scope != ours.scope]
    metrics = [metric for scope in (*equal, ours) for metric in scope.metrics]
    return [*others, dataclasses.replace(ours, metrics=metrics)]
