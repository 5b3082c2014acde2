"""A scrape, from the SDK's data to the families of prometheus_client."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import MetricReader, MetricsData
from prometheus_client.registry import Collector

from riptide_telemetry.instruments.producer import with_produced
from riptide_telemetry.prometheus.families import family_of, merged, target_info

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.metrics.export import Metric
    from prometheus_client import Metric as Family

    from riptide_telemetry.instruments.producer import HistogramProducer

logger = logging.getLogger("riptide.telemetry")


class ScrapedReader(MetricReader):
    """The place in a ``MeterProvider`` from which scrapes read. A provider has its own.

    The exporter's reader queues what it collects: what a flush has collected shows twice in the
    next scrape, and scrapes at the same time take each other's data. This one hands it to whoever
    has asked.
    """

    def __init__(self) -> None:
        super().__init__()
        # The SDK's metrics of its readers call this one what they call the exporter's.
        self._otel_component_type = "prometheus_http_text_metric_exporter"
        self._collected = MetricsData([])
        self._ended = False

    def read(self) -> MetricsData:
        """Collect what the provider's instruments have now; nothing after the shutdown.

        For one thread at a time.
        """
        self._collected = MetricsData([])
        if not self._ended:
            self.collect()
        collected, self._collected = self._collected, MetricsData([])
        return collected

    def _receive_metrics(
        self,
        metrics_data: MetricsData,
        timeout_millis: float = 10_000,  # noqa: ARG002  # the SDK's signature
        **_: Any,
    ) -> None:
        self._collected = metrics_data

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # noqa: ARG002  # the SDK's signature
        """Do nothing: Prometheus comes for the data, so there is nobody to push it to."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:  # noqa: ARG002  # at once
        """Show nothing from now on."""
        self._ended = True


class ScrapeCollector(Collector):
    """Shows a registry what a provider's instruments and the produced histograms have."""

    def __init__(self, reader: ScrapedReader, producer: HistogramProducer) -> None:
        self._lock = threading.Lock()
        self._reader = reader
        self._producer = producer
        self._left_out: set[str] = set()

    def collect(self) -> list[Family]:
        """Collect for one scrape; blocks while another scrape collects."""
        with self._lock:
            data = with_produced(self._reader.read(), self._producer)
            targets = [target_info(each.resource.attributes) for each in data.resource_metrics]
            return merged([*targets, *self._families(data)])

    def _families(self, data: MetricsData) -> Iterator[Family]:
        for resource in data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    family = family_of(metric)
                    if family is None:
                        self._warn_once(metric)
                    else:
                        yield family

    def _warn_once(self, metric: Metric) -> None:
        if metric.name not in self._left_out:
            self._left_out.add(metric.name)
            logger.warning(
                "metric %s is left out of /metrics: the text formats have no %s",
                metric.name,
                type(metric.data).__name__,
            )
