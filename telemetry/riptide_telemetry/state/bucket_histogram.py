"""A histogram of durations that costs a bisection and two additions per observation."""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics.export import HistogramDataPoint

from riptide_telemetry.state.exemplars import Exemplars

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opentelemetry.trace import SpanContext

NANOSECONDS = 1_000_000_000


class Moments(list[int]):
    """Moments in nanoseconds, oldest first, that know their sum: many consumers share them."""

    __slots__ = ("total",)

    def __init__(self, moments: Iterable[int]) -> None:
        super().__init__(moments)
        self.total = sum(self)


class BucketHistogram:
    """Counts of durations in explicit buckets; an upper bound belongs to its bucket.

    Bounds are in seconds. Inside, all is whole nanoseconds: comparing integers is cheap, and their
    sum never drifts. One thread writes, others may take data points at any time.
    """

    __slots__ = (
        "_bounds",
        "_edges",
        "bucket",
        "counts",
        "exemplars",
        "high_ns",
        "low_ns",
        "sum_ns",
    )

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        # Bucket n is above edge n, and up to edge n + 1.
        self._edges = (-1, *(round(bound * NANOSECONDS) for bound in bounds), sys.maxsize)
        # The next observation mostly falls where the last one did. Who observes once per message
        # may look for itself whether it does, and then count without a call.
        self.bucket, self.low_ns, self.high_ns = 0, -1, self._edges[1]
        self.counts = [0] * (len(bounds) + 1)
        self.sum_ns = 0
        self.exemplars: Exemplars | None = None

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.observe_ns(round(seconds * NANOSECONDS))

    def observe_ns(self, duration_ns: int) -> None:
        """Count one duration; a negative one, of a clock that was set back, is none at all."""
        duration_ns = max(0, duration_ns)
        self.bucket = bucket = self._find(duration_ns)
        self.low_ns, self.high_ns = self._edges[bucket], self._edges[bucket + 1]
        self.counts[bucket] += 1
        self.sum_ns += duration_ns

    def observe_ages(self, now_ns: int, moments_ns: Sequence[int]) -> None:
        """Count the time that has passed since each of the moments, given oldest first.

        The cost grows with the buckets they fall into, not with their number, if they are
        ``Moments``.
        """
        count = len(moments_ns)
        if not count:
            return
        if moments_ns[-1] > now_ns:
            # A clock was set back.
            for moment in moments_ns:
                self.observe_ns(now_ns - moment)
            return
        edges, counts = self._edges, self.counts
        bucket = self._find(now_ns - moments_ns[0])
        self.bucket, self.low_ns, self.high_ns = bucket, edges[bucket], edges[bucket + 1]
        start = 0
        while start < count:
            # As old as the bucket's lower edge is too young for it: that is the next one's.
            end = bisect_left(moments_ns, now_ns - edges[bucket], start)
            counts[bucket] += end - start
            start = end
            bucket -= 1
        total = moments_ns.total if isinstance(moments_ns, Moments) else sum(moments_ns)
        self.sum_ns += now_ns * count - total

    def observe_all_ages(self, nows_ns: Sequence[int], moments_ns: Sequence[int]) -> None:
        """Count, at each of several times, the time that has passed since each of the moments.

        Both are given oldest first. Mostly all fall into one bucket, and cost no more than one.
        """
        if not nows_ns or not moments_ns:
            return
        youngest, oldest = nows_ns[0] - moments_ns[-1], nows_ns[-1] - moments_ns[0]
        if youngest < 0:
            # A clock was set back.
            for now in nows_ns:
                self.observe_ages(now, moments_ns)
            return
        times, count = len(nows_ns), len(moments_ns)
        if self.low_ns < youngest and oldest <= self.high_ns:
            self.counts[self.bucket] += times * count
        else:
            self._count_ages(nows_ns, moments_ns, youngest, oldest)
        total = moments_ns.total if isinstance(moments_ns, Moments) else sum(moments_ns)
        self.sum_ns += sum(nows_ns) * count - total * times

    def _count_ages(
        self, nows_ns: Sequence[int], moments_ns: Sequence[int], youngest: int, oldest: int
    ) -> None:
        edges, counts = self._edges, self.counts
        times, count = len(nows_ns), len(moments_ns)
        bucket, last = self._find(youngest), self._find(oldest)
        younger = 0
        while bucket < last:
            edge = edges[bucket + 1]
            # How many of the pairs are no older than the edge; the longer side is searched.
            if count <= times:
                within = sum([bisect_right(nows_ns, moment + edge) for moment in moments_ns])
            else:
                within = times * count
                within -= sum([bisect_left(moments_ns, now - edge) for now in nows_ns])
            counts[bucket] += within - younger
            younger = within
            bucket += 1
        counts[last] += times * count - younger
        self.bucket, self.low_ns, self.high_ns = last, edges[last], edges[last + 1]

    def keep_exemplar(self, duration_ns: int, trace: SpanContext) -> None:
        """Let this observation, which has been counted, stand as the example of its bucket."""
        if self.exemplars is None:
            self.exemplars = Exemplars()
        duration_ns = max(0, duration_ns)
        self.exemplars.keep(self._find(duration_ns), duration_ns / NANOSECONDS, trace)

    @property
    def count(self) -> int:
        """How many observations there were."""
        return sum(self.counts)

    def data_point(
        self, attributes: Mapping[str, str], start_unix_ns: int, now_unix_ns: int
    ) -> HistogramDataPoint:
        """Return what was counted since the start, cumulative; its count is that of its buckets."""
        counts = self.counts.copy()
        exemplars = self.exemplars
        return HistogramDataPoint(
            attributes=dict(attributes),
            start_time_unix_nano=start_unix_ns,
            time_unix_nano=now_unix_ns,
            count=sum(counts),
            sum=self.sum_ns / NANOSECONDS,
            bucket_counts=counts,
            explicit_bounds=self._bounds,
            # Not kept, and OTLP leaves them out; infinities would be sent as if they were true.
            min=None,  # type: ignore[arg-type]  # what the encoder takes, though the SDK has floats
            max=None,  # type: ignore[arg-type]  # as min
            exemplars=[] if exemplars is None else exemplars.all(),
        )

    def _find(self, duration_ns: int) -> int:
        return bisect_left(self._edges, duration_ns, 1, len(self._edges) - 1) - 1
