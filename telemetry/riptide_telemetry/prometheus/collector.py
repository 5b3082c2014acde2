"""The OpenTelemetry exporter for Prometheus, made fit for more than one reader."""

from __future__ import annotations

import dataclasses
import logging
import threading
from typing import TYPE_CHECKING, Any

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics.export import Gauge, Histogram, MetricsData, Sum
from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from riptide_telemetry.instruments.producer import ProducingReader
from riptide_telemetry.prometheus.openmetrics_exemplars import attach_exemplars

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.sdk.metrics.export import Metric
    from prometheus_client import Metric as Family

logger = logging.getLogger("riptide.telemetry")


class PrometheusReader(ProducingReader, PrometheusMetricReader):
    """The exporter's reader, without its ways to spoil a scrape.

    What ``force_flush`` collects would stay in its queue and appear twice in the next scrape; two
    scrapes at once would share that queue; one exponential histogram would fail them all; and
    exemplars would be lost. So it works in a registry of its own, for one scrape at a time, and
    shows the given registry what comes of it.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._own_registry = CollectorRegistry()
        super().__init__(scope_info_enabled=False, registry=self._own_registry)
        self._lock = threading.Lock()
        self._scraping_thread: int | None = None
        self._scraped = MetricsData([])
        self._left_out: set[str] = set()
        registry.register(_Families(self))

    def families(self) -> list[Family]:
        """Collect for one scrape; blocks while another runs."""
        with self._lock:
            self._scraping_thread = threading.get_ident()
            try:
                families = list(self._own_registry.collect())
                return attach_exemplars(families, self._scraped)
            finally:
                self._scraping_thread, self._scraped = None, MetricsData([])

    def _receive_metrics(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> None:
        if threading.get_ident() != self._scraping_thread:
            # A flush, for which nobody will come: it pushes, and Prometheus pulls.
            return
        super()._receive_metrics(metrics_data, timeout_millis, **kwargs)

    def _forward(self, metrics_data: MetricsData, timeout_millis: float, **kwargs: Any) -> None:
        self._scraped = MetricsData(
            [
                dataclasses.replace(
                    resource,
                    scope_metrics=[
                        dataclasses.replace(
                            scope,
                            metrics=[
                                _with_floats(each) for each in scope.metrics if self._can_show(each)
                            ],
                        )
                        for scope in resource.scope_metrics
                    ],
                )
                for resource in metrics_data.resource_metrics
            ]
        )
        super()._forward(self._scraped, timeout_millis, **kwargs)

    def _can_show(self, metric: Metric) -> bool:
        if isinstance(metric.data, Sum | Gauge | Histogram):
            return True
        if metric.name not in self._left_out:
            self._left_out.add(metric.name)
            logger.warning(
                "metric %s is left out of /metrics: the text formats have no %s",
                metric.name,
                type(metric.data).__name__,
            )
        return False


def _with_floats(metric: Metric) -> Metric:
    """Return a histogram with bounds of one spelling: "1" is another label value than "1.0"."""
    if not isinstance(metric.data, Histogram):
        return metric
    points = [
        dataclasses.replace(point, explicit_bounds=tuple(map(float, point.explicit_bounds)))
        for point in metric.data.data_points
    ]
    return dataclasses.replace(metric, data=dataclasses.replace(metric.data, data_points=points))


class _Families(Collector):
    """What the given registry sees of the reader."""

    def __init__(self, reader: PrometheusReader) -> None:
        self._reader = reader

    def collect(self) -> Iterable[Family]:
        return self._reader.families()
