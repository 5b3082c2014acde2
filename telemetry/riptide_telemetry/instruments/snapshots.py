"""Snapshots of this process, cheap enough to be taken ten times a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide_telemetry import catalog
from riptide_telemetry.catalog import CATALOG, Kind, Merge
from riptide_telemetry.merging.snapshot import NANOSECONDS, Buckets, encoded, head_of, written

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from riptide_telemetry.catalog import MetricDefinition
    from riptide_telemetry.instruments.riptide_metrics import RiptideMetrics
    from riptide_telemetry.state.bucket_histogram import BucketHistogram
    from riptide_telemetry.state.streaming_metrics import StreamingMetrics

_GAUGES = [
    definition
    for definition in CATALOG
    if definition.kind is Kind.GAUGE and definition.merge not in {Merge.TOTAL, Merge.RATIO}
]
# Whole numbers: what is counted, and how many are open. Ratios are computed after the merge.
_COUNTS = [
    definition
    for definition in CATALOG
    if definition.kind is not Kind.HISTOGRAM
    and definition not in _GAUGES
    and definition.merge is not Merge.RATIO
]
_CPU = "process_cpu_nanoseconds"


class Snapshots:
    """Takes snapshots of the catalog's metrics and of the process.

    Counts and histograms are those of the moment. Gauges are read apart, because some of them ask
    every consumer or the disk; exemplars are looked for at the same time. ``process`` returns the
    numbers of the process that only live processes have, and ``cpu_ns`` its processor time.
    ``metrics`` is None if nothing is recorded.
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
        self._sources = [] if metrics is None else [metrics.sources[each] for each in _COUNTS]
        self._labels = {
            definition.name: [written(labels) for labels in source.labels]
            for definition, source in zip(_COUNTS, self._sources, strict=False)
        }
        # What each source has said last.
        self._said: list[Sequence[float]] = [[0] * len(each.labels) for each in self._sources]
        self._histograms: list[BucketHistogram] = []
        if metrics is not None:
            histograms = metrics.producer.histograms.values()
            self._histograms = [histogram for series in histograms for _, histogram in series]
        self._head = b""
        self._earlier_faults: list[int] | None = None

    def read_gauges(self) -> None:
        """Read gauges and exemplars for the snapshots to come. May block as long as the disk."""
        gauges = {name: {"": number} for name, number in self._process().items()}
        histograms: dict[str, dict[str, Buckets]] = {}
        if self._metrics is not None:
            gauges |= {each.name: _series(self._metrics, each) for each in _GAUGES}
            histograms = {
                definition.name: {written(labels): _buckets(each) for labels, each in series}
                for definition, series in self._metrics.producer.histograms.items()
            }
        self._head = head_of({**self._labels, _CPU: [""]}, gauges, histograms)

    def leave_out_earlier_faults(self) -> None:
        """Leave out the faults that are counted by now: another snapshot has them already."""
        self._earlier_faults = list(self._state.faults.values())

    def take(self) -> bytes:
        """Return a snapshot of this moment, encoded. Never blocks, once gauges were read."""
        if not self._head:
            self.read_gauges()
        numbers: list[int] = []
        for position, source in enumerate(self._sources):
            values = source.values()
            if values:
                self._said[position] = values
            # It could not be read otherwise, and must not fall because of that.
            numbers += map(int, self._said[position])
        numbers.append(self._cpu_ns())
        if self._earlier_faults is not None:
            self._leave_out(numbers, self._earlier_faults)
        for histogram in self._histograms:
            numbers += histogram.counts
            numbers += divmod(histogram.sum_ns, NANOSECONDS)
        numbers += self._state.window.counts()
        return encoded(self._head, numbers)

    def _leave_out(self, numbers: list[int], faults: list[int]) -> None:
        position = sum(
            len(source.labels) for source in self._sources[: _COUNTS.index(catalog.FAULTS)]
        )
        if self._sources:
            for offset, count in enumerate(faults):
                numbers[position + offset] -= count


def _series(metrics: RiptideMetrics, definition: MetricDefinition) -> dict[str, float]:
    return {written(labels): value for labels, value in metrics.sources[definition].observe()}


def _buckets(histogram: BucketHistogram) -> Buckets:
    exemplars = {} if histogram.exemplars is None else histogram.exemplars.by_bucket()
    return Buckets(histogram.counts, histogram.sum_ns, exemplars)
