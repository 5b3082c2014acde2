"""What happened in the last minutes, from totals that only grow."""

from __future__ import annotations

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

    ``advance`` is to be called before totals change, or at least once a step.
    """

    def __init__(self, totals: Callable[[], Totals], clock: Callable[[], float]) -> None:
        self._totals = totals
        self._clock = clock
        self._snapshots: deque[tuple[float, Totals]] = deque([(clock(), Totals())])

    def advance(self) -> None:
        """Note the totals if a step has passed; forget what has left the window."""
        now = self._clock()
        if now - self._snapshots[-1][0] >= STEP_S:
            self._snapshots.append((now, self._totals()))
        while len(self._snapshots) > 1 and self._snapshots[1][0] <= now - WINDOW_S:
            self._snapshots.popleft()

    def counts(self) -> Totals:
        """Return how much each total has grown within the window."""
        self.advance()
        before = self._snapshots[0][1]
        return Totals(*(now - then for now, then in zip(self._totals(), before, strict=True)))
