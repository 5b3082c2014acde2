"""The names of topics that have messages, in order, so that a page of them costs its own size."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Names that lie in one list. One name more or less moves half of them, which takes 0.1 µs.
RUN = 1_000


class TopicNames:
    """A sorted set of names. Any thread may change it, and any may look."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        ordered = sorted(names)
        self._lock = threading.Lock()
        # Each is sorted and has a name, and comes before the next one.
        self._runs = [ordered[start : start + RUN] for start in range(0, len(ordered), RUN)]

    def add(self, name: str) -> None:
        """Take a name in, unless it is there."""
        with self._lock:
            if not self._runs:
                self._runs.append([name])
                return
            number = self._run_of(name)
            run = self._runs[number]
            position = bisect_left(run, name)
            if run[position : position + 1] == [name]:
                return
            run.insert(position, name)
            if len(run) > 2 * RUN:
                self._runs.insert(number + 1, run[RUN:])
                del run[RUN:]

    def discard(self, name: str) -> None:
        """Take a name out, if it is there."""
        with self._lock:
            if not self._runs:
                return
            number = self._run_of(name)
            run = self._runs[number]
            position = bisect_left(run, name)
            if run[position : position + 1] == [name]:
                del run[position]
                if not run:
                    del self._runs[number]

    def after(self, name: str, limit: int) -> list[str]:
        """Return the names that come after a name, in order, at most ``limit``."""
        found: list[str] = []
        with self._lock:
            if not self._runs:
                return found
            number = self._run_of(name)
            start = bisect_right(self._runs[number], name)
            for run in islice(self._runs, number, None):
                found += run[start : start + limit - len(found)]
                if len(found) == limit:
                    break
                start = 0
        return found

    def _run_of(self, name: str) -> int:
        """Return the number of the run that has the name, if any has; there is a run."""
        return max(0, bisect_right(self._runs, name, key=itemgetter(0)) - 1)
