"""The OTLP exports of a process, built from its settings and shut down within a deadline."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics.export import MetricsData, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NoOpTracerProvider

from riptide_telemetry.instruments.producer import SCOPE, with_produced
from riptide_telemetry.labels import Signal
from riptide_telemetry.otlp.exporters import (
    make_log_exporter,
    make_metric_exporter,
    make_span_exporter,
)
from riptide_telemetry.otlp.log_export import OtlpLogHandler
from riptide_telemetry.state.export_health import ExportHealth
from riptide_telemetry.traces.span_tracing import LinkedSampler, SpanTracing
from riptide_telemetry.traces.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.sampling import Sampler
    from opentelemetry.trace import TracerProvider as AnyTracerProvider

    from riptide_telemetry.instruments.producer import HistogramProducer
    from riptide_telemetry.otlp.export_settings import ExportSettings, OtlpSettings
    from riptide_telemetry.otlp.watched_exporters import (
        WatchedLogExporter,
        WatchedMetricExporter,
        WatchedSpanExporter,
    )

# Time for the last exports of all signals, in parallel. A collector that hangs loses them.
logger = logging.getLogger("riptide.export")

SHUTDOWN_S = 5.0


class PushingReader(PeriodicExportingMetricReader):
    """The SDK's periodic reader, which has a thread of its own, with the produced histograms."""

    def __init__(
        self,
        exporter: WatchedMetricExporter,
        health: ExportHealth,
        producer: HistogramProducer,
        interval_s: float,
        timeout_s: float,
    ) -> None:
        self._health = health
        self.producer = producer
        super().__init__(
            exporter,
            export_interval_millis=interval_s * 1000,
            export_timeout_millis=timeout_s * 1000,
        )

    def _receive_metrics(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> None:
        try:
            metrics_data = with_produced(metrics_data, self.producer)
            super()._receive_metrics(metrics_data, timeout_millis, **kwargs)
        except Exception as error:  # noqa: BLE001  # it would end the reader's thread, and with it all exports
            self._health.failed(repr(error))


class _Shutdown(NamedTuple):
    """How to stop the exports of one signal: after the last export, or at once."""

    finish: Callable[[], object]
    abort: Callable[[], object]


class Exports:
    """The exporters that the settings name. ``health`` has the results of each signal.

    Raises:
        InvalidTelemetryError: an exporter is not installed, or rejects a variable.

    """

    def __init__(self, settings: ExportSettings, resource: Resource) -> None:
        self._settings = settings
        self.health = {
            signal: ExportHealth(signal, _without_credentials(otlp.endpoint) if otlp else None)
            for signal in Signal
            for otlp in [settings.otlp.get(signal)]
        }
        self.tracing = Tracing()
        self.tracer_provider: AnyTracerProvider = NoOpTracerProvider()
        self.log_handler: logging.Handler | None = None
        self._shutdowns: list[_Shutdown] = []
        # All exporters are made before anything runs, so that one that cannot be made leaves
        # neither a connection nor a thread of the others behind.
        exporters = _make_exporters(settings.otlp, self.health)
        self._metric_exporter = exporters.metrics
        if exporters.spans is not None:
            self._push_spans(exporters.spans, settings.sampler, resource)
        if exporters.log_records is not None:
            self._push_logs(exporters.log_records, resource)

    def push_metrics(self, provider: MeterProvider, producer: HistogramProducer) -> None:
        """Begin to push the metrics of the provider and the producer, if the settings say so."""
        exporter = self._metric_exporter
        if exporter is not None:
            settings, health = self._settings, self.health[Signal.METRICS]
            reader = PushingReader(
                exporter, health, producer, settings.interval_s, settings.interval_timeout_s
            )
            provider.add_metric_reader(reader)
            self._shutdowns.append(_Shutdown(reader.shutdown, exporter.shutdown))

    def _push_spans(
        self, exporter: WatchedSpanExporter, sampler: Sampler, resource: Resource
    ) -> None:
        health = self.health[Signal.TRACES]
        provider = TracerProvider(
            LinkedSampler(sampler),
            resource,
            shutdown_on_exit=False,
            meter_provider=NoOpMeterProvider(),
        )
        queue = self._settings.spans
        processor = BatchSpanProcessor(
            exporter,
            max_queue_size=queue.size,
            max_export_batch_size=queue.batch,
            schedule_delay_millis=queue.delay_ms,
            export_timeout_millis=queue.timeout_ms,
            meter_provider=NoOpMeterProvider(),
        )
        provider.add_span_processor(processor)
        health.queue_size = lambda: _queue_length(processor)
        self.tracer_provider = provider
        self.tracing = SpanTracing(provider.get_tracer(SCOPE))
        self._shutdowns.append(_Shutdown(provider.shutdown, exporter.shutdown))

    def _push_logs(self, exporter: WatchedLogExporter, resource: Resource) -> None:
        health = self.health[Signal.LOGS]
        provider = LoggerProvider(
            resource, shutdown_on_exit=False, meter_provider=NoOpMeterProvider()
        )
        queue = self._settings.log_records
        processor = BatchLogRecordProcessor(
            exporter,
            max_queue_size=queue.size,
            max_export_batch_size=queue.batch,
            schedule_delay_millis=queue.delay_ms,
            export_timeout_millis=queue.timeout_ms,
            meter_provider=NoOpMeterProvider(),
        )
        provider.add_log_record_processor(processor)
        health.queue_size = lambda: _queue_length(processor)
        self.log_handler = OtlpLogHandler(provider)
        self._shutdowns.append(_Shutdown(provider.shutdown, exporter.shutdown))

    def shutdown(self, deadline_s: float = SHUTDOWN_S) -> None:
        """Export what is left and stop. Blocks, but never longer than the deadline.

        The SDK's own shutdown waits up to 30 s for each signal if the collector does not answer. An
        HTTP export that is still running at the deadline goes on in a daemon thread.
        """
        shutdowns, self._shutdowns = self._shutdowns, []
        threads = []
        until = time.monotonic() + deadline_s
        for each in shutdowns:
            thread = threading.Thread(target=each.finish, name="riptide-export-end", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                logger.warning("what is left is not exported (%s)", error)
                each.abort()
            else:
                threads.append((thread, each))
        for thread, each in threads:
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                each.abort()


class _Exporters(NamedTuple):
    metrics: WatchedMetricExporter | None = None
    spans: WatchedSpanExporter | None = None
    log_records: WatchedLogExporter | None = None


def _make_exporters(
    otlp: Mapping[Signal, OtlpSettings], health: Mapping[Signal, ExportHealth]
) -> _Exporters:
    """Make the exporters of these signals; shut all down if one of them cannot be made."""
    makers: dict[Signal, tuple[str, Callable[[OtlpSettings, ExportHealth], Any]]] = {
        Signal.METRICS: ("metrics", make_metric_exporter),
        Signal.TRACES: ("spans", make_span_exporter),
        Signal.LOGS: ("log_records", make_log_exporter),
    }
    exporters: dict[str, Any] = {}
    with contextlib.ExitStack() as made:
        for signal, (name, make) in makers.items():
            if signal in otlp:
                exporters[name] = make(otlp[signal], health[signal])
                made.callback(exporters[name].shutdown)
        made.pop_all()
    return _Exporters(**exporters)


def _without_credentials(url: str) -> str:
    """Return a URL without the user name, the password and the query, which may have a key."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _queue_length(processor: BatchSpanProcessor | BatchLogRecordProcessor) -> int:
    # The processor reports the length only to a meter, as a metric of another name.
    return len(processor._batch_processor._queue)  # noqa: SLF001  # see above
