"""Snapshots of processes to one of the service, by the rule of each metric."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, TypeVar

from riptide_telemetry.catalog import ACTIVE_CONNECTIONS, CATALOG, Merge
from riptide_telemetry.merging.snapshot import Buckets, Snapshot
from riptide_telemetry.state.sliding_window import STEP_S, WINDOW_S, Totals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

# The metrics of the process, which are not in the catalog.
START_TIME: Final = "process_start_time_seconds"
PROCESS_RULES: Final[Mapping[str, Merge]] = {
    "process_cpu_nanoseconds": Merge.TOTAL,
    "process_virtual_memory_bytes": Merge.SUM,
    "process_resident_memory_bytes": Merge.SUM,
    START_TIME: Merge.MAX,
    "process_open_fds": Merge.SUM,
    "process_max_fds": Merge.SUM,
}
RULES: Final[Mapping[str, Merge]] = {
    **{definition.name: definition.merge for definition in CATALOG},
    **PROCESS_RULES,
}
N = TypeVar("N", int, float)
_COMBINE: Final[Mapping[Merge, Callable[..., Any]]] = {
    Merge.TOTAL: lambda one, other: one + other,
    Merge.SUM: lambda one, other: one + other,
    Merge.MAX: max,
    Merge.MIN: min,
}


def merged(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Return the snapshots as one. Metrics that this version does not know are left out."""
    whole = Snapshot()
    for each in snapshots:
        _merge(whole.counts, each.counts)
        _merge(whole.gauges, each.gauges)
        for name, histograms in each.histograms.items():
            buckets = whole.histograms.setdefault(name, {})
            for labels, histogram in histograms.items():
                buckets[labels] = (
                    _added(buckets[labels], histogram) if labels in buckets else histogram
                )
        whole.window = _sum([whole.window, each.window])
        for until, counts in each.ended_windows.items():
            before = whole.ended_windows.get(until, Totals())
            whole.ended_windows[until] = _sum([before, counts])
    return whole


def remaining(last: Snapshot, now_s: float) -> Snapshot:
    """Return what stays of a process that has ended, whose last snapshot this is.

    These are the numbers that never fall. Its connections have closed. ``now_s`` is the time of the
    monotonic clock, which all processes of a machine share.
    """
    counts = {
        name: series for name, series in last.counts.items() if RULES.get(name) is Merge.TOTAL
    }
    ended_windows = {
        until: window for until, window in last.ended_windows.items() if int(until) > now_s
    }
    if any(last.window):
        # Windows that end within the same step are kept as one.
        until = str(math.ceil((now_s + WINDOW_S) / STEP_S) * int(STEP_S))
        closed = last.window.closed + active_connections(last)
        window = last.window._replace(closed=closed)
        ended_windows[until] = _sum([ended_windows.get(until, Totals()), window])
    # It changes once for each start, as that of one process does, and not at an end as well.
    gauges = {name: series for name, series in last.gauges.items() if name == START_TIME}
    return Snapshot(counts, gauges, last.histograms, Totals(), ended_windows)


def recent(snapshot: Snapshot, now_s: float) -> Totals:
    """Return the counts of the last 5 minutes."""
    windows = snapshot.ended_windows.items()
    return _sum([snapshot.window, *(counts for until, counts in windows if int(until) > now_s)])


def active_connections(snapshot: Snapshot) -> int:
    """Return how many connections are open."""
    return sum(snapshot.counts.get(ACTIVE_CONNECTIONS.name, {}).values())


def _merge(whole: dict[str, dict[str, N]], part: Mapping[str, Mapping[str, N]]) -> None:
    for name, series in part.items():
        combine = _COMBINE.get(RULES.get(name, Merge.RATIO))
        if combine is None:
            continue
        numbers = whole.setdefault(name, {})
        for labels, number in series.items():
            numbers[labels] = combine(numbers[labels], number) if labels in numbers else number


def _sum(counts: list[Totals]) -> Totals:
    return Totals(*map(sum, zip(*counts, strict=True)))


def _added(one: Buckets, other: Buckets) -> Buckets:
    """Return the sum of both, with the newer exemplar of each bucket."""
    if len(one.counts) != len(other.counts):
        # Of another version, whose buckets mean something else.
        return one
    exemplars = dict(one.exemplars)
    for bucket, exemplar in other.exemplars.items():
        if bucket not in exemplars or exemplars[bucket][1] < exemplar[1]:
            exemplars[bucket] = exemplar
    counts = [sum(pair) for pair in zip(one.counts, other.counts, strict=True)]
    return Buckets(counts, one.sum_ns + other.sum_ns, exemplars)
