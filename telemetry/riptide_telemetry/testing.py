"""Test doubles: telemetry in memory, and a clock that the test advances."""

from __future__ import annotations

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    HistogramDataPoint,
    InMemoryMetricReader,
    MetricsData,
    NumberDataPoint,
)

from riptide_telemetry.catalog import CATALOG
from riptide_telemetry.instruments.producer import SCOPE, with_produced
from riptide_telemetry.instruments.riptide_metrics import RiptideMetrics
from riptide_telemetry.labels import Signal
from riptide_telemetry.recording.lifecycle_manager import StreamLifecycleManager
from riptide_telemetry.state.export_health import ExportHealth
from riptide_telemetry.state.streaming_metrics import StreamingMetrics

NANOSECONDS = 1_000_000_000


class ManualClock:
    """A clock that stands still until it is advanced."""

    def __init__(self) -> None:
        self._now_ns = 1_000 * NANOSECONDS

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now_ns += round(seconds * NANOSECONDS)

    def seconds(self) -> float:
        """Return the time as ``time.monotonic`` would."""
        return self._now_ns / NANOSECONDS

    def ns(self) -> int:
        """Return the time as ``time.monotonic_ns`` would."""
        return self._now_ns


class InMemoryTelemetry:
    """A ``lifecycle`` for the code under test, and the ``value`` of every metric afterwards.

    Everything from the lifecycle to the instruments is real. Only the clock is manual, and the
    reader keeps the metrics in memory.
    """

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.metrics = StreamingMetrics(self.clock.seconds)
        self.lifecycle = StreamLifecycleManager(self.metrics, self.clock.ns)
        self._reader = InMemoryMetricReader()
        # An exit handler would keep the provider until the process ends.
        self._provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self.export_health = {signal: ExportHealth(signal) for signal in Signal}
        self.instruments = RiptideMetrics(
            self._provider.get_meter(SCOPE), self.metrics, "test", self.export_health
        )

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's series that have these labels; of histograms, their count.

        ``name`` is the instrument's, or the one that Prometheus shows.

        Raises:
            LookupError: no series has that name and these labels. A misspelt name is not 0.

        """
        points = [
            point
            for point in self.points(name)
            if labels.items() <= dict(point.attributes or {}).items()
        ]
        if not points:
            raise LookupError(f"there is no {name} with {labels}")
        return sum(
            point.count if isinstance(point, HistogramDataPoint) else point.value
            for point in points
        )

    def points(self, name: str) -> list[NumberDataPoint | HistogramDataPoint]:
        """Return the data points of a metric as a reader gets them; none if it is unknown."""
        names = {name, *(each.name for each in CATALOG if each.prometheus_name == name)}
        collected = self._reader.get_metrics_data() or MetricsData([])
        data = with_produced(collected, self.instruments.producer)
        return [
            point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name in names
            for point in metric.data.data_points
            if isinstance(point, NumberDataPoint | HistogramDataPoint)
        ]
