"""A histogram that costs a bisection and two additions per observation."""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics.export import HistogramDataPoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NANOSECONDS = 1_000_000_000


class BucketHistogram:
    """Counts of observations in explicit buckets; an upper bound belongs to its bucket.

    One thread writes, others may take data points at any time.
    """

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def observe_ages(self, now_ns: int, moments_ns: Sequence[int]) -> None:
        """Count the seconds that have passed since each of the moments, given oldest first."""
        count = len(moments_ns)
        oldest = (now_ns - moments_ns[0]) / NANOSECONDS
        bucket = bisect_left(self._bounds, oldest)
        if count == 1:
            self._counts[bucket] += 1
            self._sum += oldest
            return
        # Messages of one batch mostly share a bucket.
        if bucket == bisect_left(self._bounds, (now_ns - moments_ns[-1]) / NANOSECONDS):
            self._counts[bucket] += count
        else:
            for moment in moments_ns:
                age = (now_ns - moment) / NANOSECONDS
                self._counts[bisect_left(self._bounds, age)] += 1
        self._sum += (now_ns * count - sum(moments_ns)) / NANOSECONDS

    @property
    def count(self) -> int:
        """How many observations there were."""
        return sum(self._counts)

    def data_point(
        self, attributes: Mapping[str, str], start_unix_ns: int, now_unix_ns: int
    ) -> HistogramDataPoint:
        """Return what was counted since the start, cumulative; its count is that of its buckets."""
        counts = self._counts.copy()
        return HistogramDataPoint(
            attributes=dict(attributes),
            start_time_unix_nano=start_unix_ns,
            time_unix_nano=now_unix_ns,
            count=sum(counts),
            sum=self._sum,
            bucket_counts=counts,
            explicit_bounds=self._bounds,
            # Not kept, and said as the SDK says it.
            min=math.inf,
            max=-math.inf,
        )
