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
    """Moments in nanoseconds. What histograms need of them is computed once for all consumers.

    Messages come in the order of their acceptance, but their moments need not: a clock may have
    been set between them. ``in_order`` has the moments oldest first, and is None if the list itself
    is in that order.
    """

    __slots__ = ("in_order", "newest", "oldest", "total")

    def __init__(self, moments: Iterable[int]) -> None:
        super().__init__(moments)
        self.total = sum(self)
        in_order = sorted(self)
        self.oldest, self.newest = (in_order[0], in_order[-1]) if in_order else (0, 0)
        self.in_order = None if in_order == self else in_order


class BucketHistogram:
    """Counts of durations in explicit buckets. An upper bound belongs to its bucket.

    Bounds are in seconds. The histogram itself works in whole nanoseconds: integers are cheap to
    compare, and their sum never drifts. One thread writes; any thread may take a data point.
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
        # Bucket n has the durations above edge n, up to and including edge n + 1.
        self._edges = (-1, *(round(bound * NANOSECONDS) for bound in bounds), sys.maxsize)
        # The bucket of the last observation, in which the next one mostly falls as well. A caller
        # may compare with its edges, and add to ``counts`` and ``sum_ns`` without a call.
        self.bucket, self.low_ns, self.high_ns = 0, -1, self._edges[1]
        self.counts = [0] * (len(bounds) + 1)
        self.sum_ns = 0
        self.exemplars: Exemplars | None = None

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.observe_ns(round(seconds * NANOSECONDS))

    def observe_ns(self, duration_ns: int) -> None:
        """Count one duration. A negative one, of a clock that was set back, counts as 0."""
        duration_ns = max(0, duration_ns)
        self.bucket = bucket = self._find(duration_ns)
        self.low_ns, self.high_ns = self._edges[bucket], self._edges[bucket + 1]
        self.counts[bucket] += 1
        self.sum_ns += duration_ns

    def observe_ages(self, now_ns: int, moments_ns: Sequence[int]) -> None:
        """Count the time that has passed since each of the moments; 0 for one that is yet to come.

        For ``Moments`` the cost grows with the number of buckets that the ages fall into, not with
        the number of moments.
        """
        count = len(moments_ns)
        if not count:
            return
        total = _total(moments_ns)
        moments_ns = _in_order(moments_ns)
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
            # Edges belong to the bucket below: an age exactly at the lower edge counts in the next
            # younger bucket.
            end = bisect_left(moments_ns, now_ns - edges[bucket], start)
            counts[bucket] += end - start
            start = end
            bucket -= 1
        self.sum_ns += now_ns * count - total

    def observe_all_ages(self, nows_ns: Sequence[int], moments_ns: Sequence[int]) -> None:
        """Count, at each of several times, the time that has passed since each of the moments.

        The times are given oldest first. If all ages are in the bucket of the last observation, as
        they mostly are, one addition counts them.
        """
        if not nows_ns or not moments_ns:
            return
        total = _total(moments_ns)
        moments_ns = _in_order(moments_ns)
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
            # The number of ages up to the edge, by a search in the longer of the two lists for each
            # member of the shorter one.
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
        """Keep an exemplar of a duration, which has been counted already."""
        if self.exemplars is None:
            self.exemplars = Exemplars()
        duration_ns = max(0, duration_ns)
        self.exemplars.keep(self._find(duration_ns), duration_ns / NANOSECONDS, trace)

    @property
    def count(self) -> int:
        """The number of observations."""
        return sum(self.counts)

    def data_point(
        self, attributes: Mapping[str, str], start_unix_ns: int, now_unix_ns: int
    ) -> HistogramDataPoint:
        """Return a cumulative data point. Its count is always the sum of its buckets."""
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
            # Neither is kept. OTLP leaves None out, but would export the SDK's infinities.
            min=None,  # type: ignore[arg-type]  # the OTLP encoder takes None, the SDK's types do not
            max=None,  # type: ignore[arg-type]  # as min
            exemplars=[] if exemplars is None else exemplars.all(),
        )

    def _find(self, duration_ns: int) -> int:
        return bisect_left(self._edges, duration_ns, 1, len(self._edges) - 1) - 1


def _total(moments_ns: Sequence[int]) -> int:
    return moments_ns.total if isinstance(moments_ns, Moments) else sum(moments_ns)


def _in_order(moments_ns: Sequence[int]) -> Sequence[int]:
    """Return the moments oldest first."""
    if isinstance(moments_ns, Moments):
        return moments_ns if moments_ns.in_order is None else moments_ns.in_order
    return sorted(moments_ns)
