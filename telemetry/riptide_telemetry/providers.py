"""Builds telemetry from the standard ``OTEL_*`` variables."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.environment_variables import OTEL_RESOURCE_ATTRIBUTES
from opentelemetry.sdk.metrics import (
    AlwaysOffExemplarFilter,
    AlwaysOnExemplarFilter,
    MeterProvider,
    TraceBasedExemplarFilter,
)
from opentelemetry.sdk.resources import (
    SERVICE_INSTANCE_ID,
    SERVICE_NAME,
    SERVICE_VERSION,
    OTELResourceDetector,
    Resource,
)
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector

from riptide_telemetry.environment.variables import (
    given,
    put_right,
    remarks,
)
from riptide_telemetry.instruments.producer import SCOPE
from riptide_telemetry.instruments.riptide_metrics import RiptideMetrics
from riptide_telemetry.instruments.snapshots import Snapshots
from riptide_telemetry.lifecycle import Lifecycle
from riptide_telemetry.otlp.export_settings import read_export_settings
from riptide_telemetry.prometheus.collector import ScrapeCollector, ScrapedReader
from riptide_telemetry.prometheus.exposition import Exposition
from riptide_telemetry.prometheus.merged_collector import MergedCollector
from riptide_telemetry.prometheus.process_metrics import ProcessMetrics
from riptide_telemetry.recording.lifecycle_manager import StreamLifecycleManager
from riptide_telemetry.state.streaming_metrics import StreamingMetrics

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from opentelemetry.metrics import MeterProvider as AnyMeterProvider
    from opentelemetry.sdk.metrics import ExemplarFilter
    from opentelemetry.trace import TracerProvider

    from riptide_telemetry.catalog import MetricDefinition
    from riptide_telemetry.instruments.producer import ProducingReader
    from riptide_telemetry.instruments.riptide_metrics import Gauge
    from riptide_telemetry.labels import Signal
    from riptide_telemetry.merging.snapshot import Snapshot
    from riptide_telemetry.otlp.exports import Exports
    from riptide_telemetry.state.export_health import ExportHealth

DEFAULT_SERVICE_NAME = "riptide"
# Attributes that tell processes of an instance apart, and so describe none of the instance.
_OF_ONE_PROCESS = (SERVICE_INSTANCE_ID, "process.")
_EXEMPLAR_FILTERS: dict[str, Callable[[], ExemplarFilter]] = {
    "always_on": AlwaysOnExemplarFilter,
    "always_off": AlwaysOffExemplarFilter,
    "trace_based": TraceBasedExemplarFilter,
}


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What an application uses of telemetry.

    ``pushes_only`` is True if ``exposition`` has no metrics of streams, because they are only
    exported over OTLP, or not at all. ``export_health`` has the results of each signal's exports.
    ``log_handler`` is for the root logger; it is None unless log records are exported. ``remarks``
    are for the application's log: one for each ``OTEL_*`` variable that has no effect.
    ``snapshots`` takes those of this process, for ``merged`` in another one.
    """

    lifecycle: Lifecycle
    metrics: StreamingMetrics
    exposition: Exposition
    pushes_only: bool
    export_health: Mapping[Signal, ExportHealth]
    meter_provider: AnyMeterProvider
    tracer_provider: TracerProvider
    log_handler: logging.Handler | None
    remarks: Sequence[str]
    snapshots: Snapshots
    _service: Mapping[str, Any]
    _exports: Exports
    _riptide_metrics: RiptideMetrics | None

    def observe(self, gauges: Mapping[MetricDefinition, Gauge]) -> None:
        """Read each gauge from its function from now on (see ``RiptideMetrics.observe``).

        Raises:
            ValueError: a metric is not a gauge or a counter that the application has.

        """
        if self._riptide_metrics is not None:
            self._riptide_metrics.observe(gauges)

    def merged(self, read_all: Callable[[], Iterable[Snapshot]]) -> Exposition:
        """Return the exposition of several processes, this one among them.

        ``read_all`` returns the snapshots of all, of which some may be ``remaining`` ones. It is
        called for each scrape, on another thread than the event loop's.
        """
        return Exposition(MergedCollector(read_all, self._service))

    def shutdown(self) -> None:
        """Export what is left and stop. Blocks for at most 5 seconds."""
        self._exports.shutdown()


def start_telemetry(
    version: str,
    extra_readers: Sequence[ProducingReader] = (),
    topic_prefixes: Sequence[str] = (),
    instance: str = "",
    worker: str = "",
) -> Telemetry:
    """Return new telemetry. It sets nothing global, so one process can have several.

    The standard ``OTEL_*`` variables describe the process and decide what is exported where
    (see ``read_export_settings``). Without any, metrics can be scraped, and nothing needs a
    network. ``OTEL_SDK_DISABLED=true`` switches recording off; ``/metrics`` then has only the
    metrics of the process. An empty variable counts as not set, and is removed from the
    environment, because the SDK reads it otherwise. ``version`` is the application's.
    ``topic_prefixes`` are the values of the label ``topic``; a topic with none of these prefixes
    counts as ``other``. ``instance`` is the ``service.instance.id`` unless
    ``OTEL_RESOURCE_ATTRIBUTES`` has one; if neither is given, each process has a random one.
    ``worker`` tells a process from the others of the same instance, if there are several.

    Raises:
        InvalidTelemetryError: a variable has a value that is not allowed, or asks for an exporter
            that is not installed.
        ValueError: there are more than 50 prefixes.

    """
    put_right(os.environ)
    settings = read_export_settings(os.environ)
    # Imported only now: the SDK's tracing reads variables when it is imported, and raises an error
    # of its own.
    from riptide_telemetry.otlp.exports import Exports  # noqa: PLC0415  # see above

    registry = CollectorRegistry()
    process = ProcessMetrics()
    registry.register(process)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    exposition = Exposition(registry)
    metrics = StreamingMetrics(topic_prefixes=topic_prefixes)
    instance = _named_by_operator() or instance
    resource = Resource.get_empty() if settings.disabled else _resource(version, instance, worker)
    exports = Exports(settings, resource)
    pushes_only = not settings.prometheus and not settings.disabled
    if settings.disabled:
        return Telemetry(
            Lifecycle(),
            metrics,
            exposition,
            pushes_only,
            exports.health,
            NoOpMeterProvider(),
            exports.tracer_provider,
            exports.log_handler,
            remarks(given(os.environ)),
            Snapshots(metrics, None, process.gauges, time.process_time_ns),
            {},
            exports,
            None,
        )
    scraped = ScrapedReader()
    readers = [*extra_readers, scraped] if settings.prometheus else extra_readers
    # No exit handler: it would wait up to 30 s for a collector that hangs. ``shutdown`` waits 5 s.
    provider = MeterProvider(
        readers,
        resource=resource,
        exemplar_filter=_EXEMPLAR_FILTERS[settings.exemplar_filter](),
        shutdown_on_exit=False,
    )
    riptide_metrics = RiptideMetrics(provider.get_meter(SCOPE), metrics, version, exports.health)
    for each in extra_readers:
        each.producer = riptide_metrics.producer
    if settings.prometheus:
        registry.register(ScrapeCollector(scraped, riptide_metrics.producer))
    exports.push_metrics(provider, riptide_metrics.producer)
    return Telemetry(
        StreamLifecycleManager(metrics, tracing=exports.tracing),
        metrics,
        exposition,
        pushes_only,
        exports.health,
        provider,
        exports.tracer_provider,
        exports.log_handler,
        remarks(given(os.environ)),
        Snapshots(metrics, riptide_metrics, process.gauges, time.process_time_ns),
        _of_all_processes(resource, instance),
        exports,
        riptide_metrics,
    )


def _named_by_operator() -> str:
    """Return the id that OTEL_RESOURCE_ATTRIBUTES has for the instance; empty if it has none."""
    # The detector complains of what it cannot read, as it does once more when the SDK uses it.
    if SERVICE_INSTANCE_ID not in os.environ.get(OTEL_RESOURCE_ATTRIBUTES, ""):
        return ""
    return str(OTELResourceDetector().detect().attributes.get(SERVICE_INSTANCE_ID, ""))


def _resource(version: str, instance: str, worker: str) -> Resource:
    """Return what describes this process; the SDK makes up an id where there is none."""
    attributes = {SERVICE_VERSION: version}
    if instance:
        attributes[SERVICE_INSTANCE_ID] = f"{instance}/{worker}" if worker else instance
    described = Resource.create(attributes)
    # The SDK's name for a service that no variable names.
    if described.attributes.get(SERVICE_NAME) == f"unknown_service:{Path(sys.executable).name}":
        return described.merge(Resource({SERVICE_NAME: DEFAULT_SERVICE_NAME}))
    return described


def _of_all_processes(resource: Resource, instance: str) -> dict[str, Any]:
    """Return what describes the instance, and not this process alone."""
    attributes = {
        key: value
        for key, value in resource.attributes.items()
        if not key.startswith(_OF_ONE_PROCESS)
    }
    return attributes | ({SERVICE_INSTANCE_ID: instance} if instance else {})
