"""Counts of the last 5 minutes, from totals that only grow."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW_S = 300.0
STEP_S = 5.0


class StreamTotals(NamedTuple):
    """Counts of the connections of one protocol, since the start."""

    opened: int = 0
    closed: int = 0
    errored: int = 0
    reconnections: int = 0
    sent: int = 0
    dropped: int = 0


class Totals(NamedTuple):
    """Counts of all connections, and of messages that were published, since the start."""

    opened: int = 0
    closed: int = 0
    errored: int = 0
    reconnections: int = 0
    sent: int = 0
    dropped: int = 0
    accepted: int = 0
    failed: int = 0


class SlidingWindow:
    """Keeps a snapshot of the totals for each step of 5 s, so that counting is only an addition.

    Call ``advance`` at least once in each step. What is counted in a longer pause stays in the
    window until it is certain to be older. All methods are thread-safe.
    """

    def __init__(self, totals: Callable[[], Totals], clock: Callable[[], float]) -> None:
        self._totals = totals
        self._clock = clock
        self._snapshots: deque[tuple[float, Totals]] = deque([(clock(), Totals())])
        self._lock = threading.Lock()

    def advance(self) -> None:
        """Keep a snapshot if a step has passed, and drop those that the window has left behind."""
        # Checked without the lock, because most calls have nothing to do.
        if self._clock() - self._snapshots[-1][0] >= STEP_S:
            with self._lock:
                self._slide()

    def counts(self) -> Totals:
        """Return how much each total has grown within the window."""
        with self._lock:
            self._slide()
            before = self._snapshots[0][1]
            totals = self._totals()
        return Totals(*(now - then for now, then in zip(totals, before, strict=True)))

    def _slide(self) -> None:
        now = self._clock()
        if now - self._snapshots[-1][0] >= STEP_S:
            self._snapshots.append((now, self._totals()))
        while len(self._snapshots) > 1 and self._snapshots[1][0] <= now - WINDOW_S:
            self._snapshots.popleft()
