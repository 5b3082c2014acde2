"""What one process has counted, as a value that travels to other processes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import NamedTuple

from riptide_telemetry.state.sliding_window import Totals


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

    numbers: dict[str, dict[str, float]] = field(default_factory=dict)
    histograms: dict[str, dict[str, Buckets]] = field(default_factory=dict)
    window: Totals = field(default_factory=Totals)
    ended_windows: dict[str, Totals] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the snapshot as bytes."""
        parts = (self.numbers, self.histograms, self.window, self.ended_windows)
        return json.dumps(parts, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, encoded: bytes) -> Snapshot:
        """Return the snapshot that was encoded."""
        numbers, histograms, window, ended_windows = json.loads(encoded)
        return cls(
            numbers,
            {
                name: {labels: Buckets(*buckets) for labels, buckets in series.items()}
                for name, series in histograms.items()
            },
            Totals(*window),
            {until: Totals(*counts) for until, counts in ended_windows.items()},
        )


def written(labels: dict[str, str]) -> str:
    """Return the labels as a snapshot has them. No key and no value has a comma or ``=``."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


def read(labels: str) -> dict[str, str]:
    """Return the labels that were written so."""
    return dict(part.split("=", 1) for part in labels.split(",") if part)
