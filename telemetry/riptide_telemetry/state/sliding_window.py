"""What happened in the last minutes, from totals that only grow."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW_S = 300.0
STEP_S = 5.0


class Totals(NamedTuple):
    """Counts since the start."""

    opened: int = 0
    closed: int = 0
    errored: int = 0
    reconnections: int = 0
    sent: int = 0
    dropped: int = 0


class SlidingWindow:
    """Keeps the totals of every step, so that recording need not know of the window.

    ``advance`` is to be called at least once a step; growth that was not seen for longer counts
    until it is certain to be older than the window. Any thread may call anything.
    """

    def __init__(self, totals: Callable[[], Totals], clock: Callable[[], float]) -> None:
        self._totals = totals
        self._clock = clock
        self._snapshots: deque[tuple[float, Totals]] = deque([(clock(), Totals())])
        self._lock = threading.Lock()

    def advance(self) -> None:
        """Note the totals if a step has passed; forget what has left the window."""
        # Read without the lock: this is called far more often than there is something to do.
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
