"""Snapshots of this process, cheap enough to be taken ten times a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide_telemetry import catalog
from riptide_telemetry.catalog import CATALOG, Kind, Merge
from riptide_telemetry.merging.snapshot import Buckets, Snapshot, written

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from riptide_telemetry.catalog import MetricDefinition
    from riptide_telemetry.instruments.riptide_metrics import RiptideMetrics
    from riptide_telemetry.state.bucket_histogram import BucketHistogram
    from riptide_telemetry.state.streaming_metrics import StreamingMetrics

    Numbers = dict[str, dict[str, float]]

_GAUGES = [
    definition
    for definition in CATALOG
    if definition.kind is Kind.GAUGE and definition.merge not in {Merge.TOTAL, Merge.RATIO}
]
_COUNTS = [
    definition
    for definition in CATALOG
    if definition.kind is not Kind.HISTOGRAM
    and definition not in _GAUGES
    # Ratios are computed where snapshots are merged.
    and definition.merge is not Merge.RATIO
]


class Snapshots:
    """Takes snapshots of the catalog's metrics and of the process.

    Counts and connections are those of the moment. Gauges are read apart, because some of them ask
    every consumer or the disk. ``process`` returns the numbers of the process that only live
    processes have, and ``cpu_ns`` its processor time. ``metrics`` is None if nothing is recorded.
    """

    def __init__(
        self,
        state: StreamingMetrics,
        metrics: RiptideMetrics | None,
        process: Callable[[], Mapping[str, float]],
        cpu_ns: Callable[[], int],
    ) -> None:
        self._state = state
        self._metrics = metrics
        self._process = process
        self._cpu_ns = cpu_ns
        self._gauges: Numbers = {}
        # The last numbers of each count, and the labels of its series, which are always the same.
        self._counts: Numbers = {}
        self._labels: dict[MetricDefinition, list[str]] = {}
        self._histograms: dict[str, dict[str, BucketHistogram]] = {}
        if metrics is not None:
            self._histograms = {
                definition.name: {written(dict(labels)): histogram for labels, histogram in series}
                for definition, series in metrics.producer.histograms.items()
            }
        self._earlier_faults: dict[str, float] = {}

    def read_gauges(self) -> None:
        """Read the gauges for the snapshots to come. May block for as long as the disk does."""
        gauges: Numbers = {name: {"": number} for name, number in self._process().items()}
        if self._metrics is not None:
            for definition in _GAUGES:
                series = self._metrics.observe_now(definition)
                gauges[definition.name] = {written(dict(labels)): value for labels, value in series}
        self._gauges = gauges

    def leave_out_earlier_faults(self) -> None:
        """Leave out the faults that are counted by now: another snapshot has them already."""
        self._earlier_faults = {f"part={part}": count for part, count in self._state.faults.items()}

    def take(self) -> Snapshot:
        """Return a snapshot. Never blocks."""
        if self._metrics is not None:
            for definition in _COUNTS:
                self._count(self._metrics, definition)
        self._counts["process_cpu_nanoseconds"] = {"": self._cpu_ns()}
        histograms = {
            name: {labels: _buckets(histogram) for labels, histogram in series.items()}
            for name, series in self._histograms.items()
        }
        window = self._state.window.counts()
        return Snapshot({**self._gauges, **self._counts}, histograms, window)

    def _count(self, metrics: RiptideMetrics, definition: MetricDefinition) -> None:
        series = list(metrics.observe_now(definition))
        if not series:
            # It could not be read, and must not fall because of that.
            return
        labels = self._labels.get(definition)
        if labels is None:
            labels = self._labels[definition] = [written(dict(each)) for each, _ in series]
        numbers = dict(zip(labels, (number for _, number in series), strict=True))
        if definition is catalog.FAULTS:
            for part, count in self._earlier_faults.items():
                numbers[part] -= count
        self._counts[definition.name] = numbers


def _buckets(histogram: BucketHistogram) -> Buckets:
    exemplars = {} if histogram.exemplars is None else histogram.exemplars.by_bucket()
    return Buckets(histogram.counts.copy(), histogram.sum_ns, exemplars)
