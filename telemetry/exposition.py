"""What ``/metrics`` answers, made by the OpenTelemetry exporter for Prometheus."""

from __future__ import annotations

import asyncio
import gzip
import logging
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics.export import Gauge, Histogram, MetricsData, Sum
from prometheus_client.exposition import choose_encoder

from telemetry.producer import ProducingReader

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import Metric
    from prometheus_client import CollectorRegistry

logger = logging.getLogger("riptide.telemetry")

GZIP_LEVEL = 1


class Scrape(NamedTuple):
    """An answer to a scraper."""

    body: bytes
    content_type: str
    content_encoding: str | None


class PrometheusReader(ProducingReader, PrometheusMetricReader):
    """The exporter's reader, without its three ways to spoil a scrape.

    What ``force_flush`` collects would stay in its queue and appear twice in the next scrape, two
    scrapes at once would share that queue, and one exponential histogram would fail them all.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(scope_info_enabled=False, registry=registry)
        self.scraping = threading.Lock()
        self._left_out: set[str] = set()

    def _receive_metrics(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> None:
        if not self.scraping.locked():
            # Nobody will come for it: a flush pushes, and Prometheus pulls.
            return
        super()._receive_metrics(self._expressible(metrics_data), timeout_millis, **kwargs)

    def _expressible(self, data: MetricsData) -> MetricsData:
        for resource_metrics in data.resource_metrics:
            for scope_metrics in resource_metrics.scope_metrics:
                metrics: list[Metric] = list(scope_metrics.metrics)
                scope_metrics.metrics[:] = [  # type: ignore[index]  # made by the SDK for this collection
                    metric for metric in metrics if self._can_express(metric)
                ]
        return data

    def _can_express(self, metric: Metric) -> bool:
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


class Exposition:
    """Scrapes, one at a time, off the event loop."""

    def __init__(self, registry: CollectorRegistry, reader: PrometheusReader) -> None:
        self._registry = registry
        self._reader = reader

    def render(self, accept: str = "", accept_encoding: str = "") -> Scrape:
        """Collect, and encode as the scraper accepts; blocks while another scrape runs."""
        encode, content_type = choose_encoder(accept)
        with self._reader.scraping:
            body = encode(self._registry)
        if "gzip" in accept_encoding.lower():
            return Scrape(gzip.compress(body, GZIP_LEVEL), content_type, "gzip")
        return Scrape(body, content_type, None)

    async def scrape(self, accept: str = "", accept_encoding: str = "") -> Scrape:
        """Render on another thread."""
        return await asyncio.to_thread(self.render, accept, accept_encoding)
