"""Puts telemetry together from the standard OTEL_* variables."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector

from telemetry.exposition import Exposition
from telemetry.lifecycle import Lifecycle
from telemetry.lifecycle_manager import StreamLifecycleManager
from telemetry.process_metrics import ProcessMetrics
from telemetry.producer import SCOPE, ProducingReader
from telemetry.prometheus_reader import PrometheusReader
from telemetry.riptide_metrics import RiptideMetrics
from telemetry.streaming_metrics import StreamingMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.metrics import MeterProvider as AnyMeterProvider

    from telemetry.catalog import MetricDefinition

DEFAULT_SERVICE_NAME = "riptide"


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Everything that an application needs of telemetry."""

    lifecycle: Lifecycle
    metrics: StreamingMetrics
    exposition: Exposition
    meter_provider: AnyMeterProvider
    _riptide_metrics: RiptideMetrics | None

    def observe(self, gauges: Mapping[MetricDefinition, Callable[[], float]]) -> None:
        """Read these gauges from their owners from now on (see ``RiptideMetrics.observe``)."""
        if self._riptide_metrics is not None:
            self._riptide_metrics.observe(gauges)

    def shutdown(self) -> None:
        """Flush and stop the readers; blocks."""
        if isinstance(self.meter_provider, MeterProvider):
            self.meter_provider.shutdown()


def start_telemetry(
    version: str,
    extra_readers: Sequence[ProducingReader] = (),
    topic_prefixes: Sequence[str] = (),
) -> Telemetry:
    """Return telemetry of its own: nothing global is set, so several can live in one process.

    ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` describe the process;
    ``OTEL_SDK_DISABLED=true`` switches recording off, and ``/metrics`` then has only what the
    process itself shows. ``topic_prefixes`` are the values that the label ``topic`` may have.

    Raises:
        ValueError: there are too many of them.

    """
    registry = CollectorRegistry()
    registry.register(ProcessMetrics())
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    exposition = Exposition(registry)
    metrics = StreamingMetrics(topic_prefixes=topic_prefixes)
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Telemetry(Lifecycle(), metrics, exposition, NoOpMeterProvider(), None)
    reader = PrometheusReader(registry)
    provider = MeterProvider([reader, *extra_readers], resource=_resource(version))
    riptide_metrics = RiptideMetrics(provider.get_meter(SCOPE), metrics, version)
    for each in (reader, *extra_readers):
        each.producer = riptide_metrics.producer
    return Telemetry(
        StreamLifecycleManager(metrics), metrics, exposition, provider, riptide_metrics
    )


def _resource(version: str) -> Resource:
    # Resource.create() lets OTEL_RESOURCE_ATTRIBUTES win over what it is given, but falls back
    # to "unknown_service" for the name, which ours replaces.
    name = os.environ.get("OTEL_SERVICE_NAME") or DEFAULT_SERVICE_NAME
    described = Resource.create({SERVICE_VERSION: version})
    if str(described.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        return described.merge(Resource({SERVICE_NAME: name}))
    return described
