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
    """The reader of scrapes. It serves one ``MeterProvider``.

    The exporter's own reader queues what it collects: after a flush, the next scrape shows
    everything twice, and simultaneous scrapes take each other's data. This reader returns the data
    to its caller.
    """

    def __init__(self) -> None:
        super().__init__()
        # The SDK's own metrics show this reader under the name of the exporter's reader.
        self._otel_component_type = "prometheus_http_text_metric_exporter"
        self._collected = MetricsData([])
        self._ended = False

    def read(self) -> MetricsData:
        """Collect and return the provider's metrics; nothing after the shutdown.

        Only one thread may call this at a time.
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
        """Do nothing: Prometheus pulls the data."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:  # noqa: ARG002  # nothing takes time
        """Return nothing from now on."""
        self._ended = True


class ScrapeCollector(Collector):
    """Gives a registry the metrics of a provider, with the produced histograms."""

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
