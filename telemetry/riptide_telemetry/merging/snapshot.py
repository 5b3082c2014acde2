"""What one process has counted, as a value that travels to other processes."""

from __future__ import annotations

import json
from array import array
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from riptide_telemetry.state.sliding_window import Totals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NANOSECONDS = 1_000_000_000
END_OF_HEAD = b"\n"


class Buckets(NamedTuple):
    """A histogram: counts by bucket, the sum in nanoseconds, and exemplars by bucket.

    An exemplar is its value, its Unix time in nanoseconds, the id of the trace and of the span.
    """

    counts: list[int]
    sum_ns: int
    exemplars: dict[str, tuple[float, int, int, int]]


@dataclass(slots=True)
class Snapshot:
    """The metrics of one process, or of several that were merged, by name and by labels.

    Labels are written ``key=value,key=value``. What is counted is a whole number, so that sums are
    exact: a sum of floats could fall by its last digit when its parts are grouped otherwise, and
    Prometheus would take that for a reset. ``window`` are the counts of the last 5 minutes of the
    processes that live. ``ended_windows`` are those of processes that have ended, by the time of
    the monotonic clock, in seconds, from which they are older than that.
    """

    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    gauges: dict[str, dict[str, float]] = field(default_factory=dict)
    histograms: dict[str, dict[str, Buckets]] = field(default_factory=dict)
    window: Totals = field(default_factory=Totals)
    ended_windows: dict[str, Totals] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the snapshot as bytes."""
        numbers = [count for series in self.counts.values() for count in series.values()]
        for series in self.histograms.values():
            for buckets in series.values():
                numbers += [*buckets.counts, *divmod(buckets.sum_ns, NANOSECONDS)]
        head = head_of(
            {name: list(series) for name, series in self.counts.items()},
            self.gauges,
            self.histograms,
            self.ended_windows,
        )
        return encoded(head, [*numbers, *self.window])

    @classmethod
    def decode(cls, text: bytes) -> Snapshot:
        """Return the snapshot that was encoded."""
        head, _, body = text.partition(END_OF_HEAD)
        counts, gauges, histograms, ended_windows = json.loads(head)
        numbers = iter(array("q", body))
        return cls(
            {
                name: dict(zip(labels, islice(numbers, len(labels)), strict=True))
                for name, labels in counts.items()
            },
            gauges,
            {
                name: {
                    labels: _buckets(list(islice(numbers, size + 2)), exemplars)
                    for labels, (size, exemplars) in series.items()
                }
                for name, series in histograms.items()
            },
            Totals(*numbers),
            {until: Totals(*window) for until, window in ended_windows.items()},
        )


def head_of(
    counts: Mapping[str, list[str]],
    gauges: Mapping[str, Mapping[str, float]],
    histograms: Mapping[str, Mapping[str, Buckets]],
    ended_windows: Mapping[str, Totals] | None = None,
) -> bytes:
    """Return the first part of an encoded snapshot: all but the numbers that change all the time.

    ``counts`` has the labels of each metric.
    """
    sizes: dict[str, Any] = {
        name: {
            labels: (len(buckets.counts), buckets.exemplars) for labels, buckets in series.items()
        }
        for name, series in histograms.items()
    }
    return json.dumps([counts, gauges, sizes, ended_windows or {}]).encode()


def encoded(head: bytes, numbers: Iterable[int]) -> bytes:
    """Return an encoded snapshot.

    The numbers are those of the head, in its order (of a histogram its counts, and its sum as
    seconds and nanoseconds), and then those of the window.
    """
    return head + END_OF_HEAD + array("q", numbers).tobytes()


def written(labels: Mapping[str, str]) -> str:
    """Return the labels as a snapshot has them. No key and no value has a comma or ``=``."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


def read(labels: str) -> dict[str, str]:
    """Return the labels that were written so."""
    return dict(part.split("=", 1) for part in labels.split(",") if part)


def _buckets(numbers: list[int], exemplars: dict[str, tuple[float, int, int, int]]) -> Buckets:
    *counts, seconds, nanoseconds = numbers
    return Buckets(counts, seconds * NANOSECONDS + nanoseconds, exemplars)
