"""Everything that is pushed by OTLP: put together from the settings, and ended in time."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import MetricsData, PeriodicExportingMetricReader

from telemetry.export_health import ExportHealth
from telemetry.labels import Signal
from telemetry.otlp_exporters import make_metric_exporter
from telemetry.producer import ProducingReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.metrics import MeterProvider

    from telemetry.export_settings import ExportSettings
    from telemetry.producer import HistogramProducer
    from telemetry.watched_exporters import WatchedMetricExporter

# In which all signals get their last export, side by side; a collector that hangs loses it.
SHUTDOWN_S = 5.0


class PushingReader(ProducingReader, PeriodicExportingMetricReader):
    """The SDK's periodic reader, with the histograms of the catalog, on a thread of its own."""

    def __init__(
        self,
        exporter: WatchedMetricExporter,
        health: ExportHealth,
        producer: HistogramProducer,
        interval_s: float,
    ) -> None:
        self._health = health
        self.producer = producer
        super().__init__(exporter, export_interval_millis=interval_s * 1000)

    def _receive_metrics(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> None:
        try:
            super()._receive_metrics(metrics_data, timeout_millis, **kwargs)
        except Exception as error:  # noqa: BLE001  # it would end the thread, and all exports with it
            self._health.failed(repr(error))


class Exports:
    """The exporters of one process, none unless the settings say so; ``health`` tells of each."""

    def __init__(self, settings: ExportSettings) -> None:
        self._settings = settings
        self.health = {
            signal: ExportHealth(signal, otlp.endpoint if otlp else None)
            for signal in Signal
            for otlp in [settings.otlp.get(signal)]
        }
        self._metric_exporter: WatchedMetricExporter | None = None
        if Signal.METRICS in settings.otlp:
            health = self.health[Signal.METRICS]
            self._metric_exporter = make_metric_exporter(settings.otlp[Signal.METRICS], health)
        # How to end each: in good order, and at once.
        self._ends: list[tuple[Callable[[], object], Callable[[], object]]] = []

    def push_metrics(self, provider: MeterProvider, producer: HistogramProducer) -> None:
        """Begin to push what the provider and the producer have, once it is complete."""
        exporter = self._metric_exporter
        if exporter is not None:
            health, interval_s = self.health[Signal.METRICS], self._settings.interval_s
            reader = PushingReader(exporter, health, producer, interval_s)
            provider.add_metric_reader(reader)
            self._ends.append((reader.shutdown, exporter.shutdown))

    def shutdown(self, deadline_s: float = SHUTDOWN_S) -> None:
        """Export what is left, and end; blocks, never longer than the deadline.

        The SDK's own shutdown waits 30 s for each signal of a collector that does not answer.
        """
        ends, self._ends = self._ends, []
        threads = [
            threading.Thread(target=end, name="riptide-export-end", daemon=True) for end, _ in ends
        ]
        until = time.monotonic() + deadline_s
        for thread in threads:
            thread.start()
        for thread, (_, abort) in zip(threads, ends, strict=True):
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                abort()
