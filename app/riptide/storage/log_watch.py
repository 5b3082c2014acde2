"""What the log's threads are doing, since when, and what went wrong last.

A thread that waits for the disk cannot report it, so others look from outside. Ages count from the
moments that the threads themselves have noted: a slow event loop makes no log look slow.
"""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# A commit takes milliseconds, and on a disk that is overloaded a second.
LIMIT_S = 5.0
# How long a stall is remembered: longer than the time between two scrapes.
MEMORY_S = 60.0
# How often each thread proves that the disk takes, or gives, what it should.
PROBE_INTERVAL_S = 5.0


class ThreadWatch:
    """A thread of the log. It alone writes, and any thread may look."""

    def __init__(self, work: str, clock: Callable[[], float] = time.monotonic) -> None:
        """``work`` names what the thread does, for people."""
        self.failure: str | None = None
        """Why the last work failed, None if it did not."""
        self._work = work
        self._clock = clock
        self._busy_since: float | None = None

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Note that the thread works within this context."""
        self._busy_since = self._clock()
        try:
            yield
        finally:
            self._busy_since = None

    def age_s(self) -> float:
        """Return how long the present work has taken; 0 if the thread waits for work."""
        since = self._busy_since
        return 0.0 if since is None else self._clock() - since

    def reason(self) -> str | None:
        """Return why the thread's work cannot be relied on at the moment; None if it can."""
        age_s = self.age_s()
        return f"{self._work} has taken {age_s:.0f} s" if age_s > LIMIT_S else self.failure


class _Waiting(ABC):
    """Appends that wait for an answer, and the times in which none came."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answered_at = clock()
        # The stalls that were the longest since they ended, with that moment: the longest first.
        self._stalls: deque[tuple[float, float]] = deque()

    @abstractmethod
    def age_s(self) -> float:
        """Return how long the oldest append has waited; 0 if there is none."""

    def longest_stall_s(self) -> float:
        """Return the longest time of the last minute in which appends waited and none was answered.

        A wait that has not ended yet counts.
        """
        oldest = self._clock() - MEMORY_S
        return max(self._stall_s(), *(s for s, ended in self._stalls.copy() if ended >= oldest), 0)

    def reason(self) -> str | None:
        """Return that the oldest append has waited too long; None if it has not."""
        age_s = self.age_s()
        return f"an append has waited {age_s:.0f} s" if age_s > LIMIT_S else None

    def _stall_s(self) -> float:
        """Return how long appends have waited since the last answer; 0 if there are none."""
        return min(self.age_s(), self._clock() - self._answered_at)

    def _note_answer(self) -> None:
        """Note that appends are answered, before they are left out."""
        stall_s = self._stall_s()
        now = self._answered_at = self._clock()
        while self._stalls and self._stalls[-1][0] <= stall_s:
            self._stalls.pop()
        self._stalls.append((stall_s, now))
        while self._stalls[0][1] < now - MEMORY_S:
            self._stalls.popleft()


class AppendsUnderWay(_Waiting):
    """Appends that wait for an answer, oldest first. They are answered in that order."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._since: deque[float] = deque()

    def begin(self) -> None:
        """Note an append."""
        self._since.append(self._clock())

    def end(self, count: int) -> None:
        """Note that the oldest so many appends are answered."""
        if count:
            self._note_answer()
        for _ in range(count):
            self._since.popleft()

    def age_s(self) -> float:
        """Return how long the oldest append has waited; 0 if there is none."""
        try:
            return self._clock() - self._since[0]
        except IndexError:
            return 0.0


class UnorderedAppends(_Waiting):
    """Appends that wait for an answer, oldest first, and are answered in any order."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._began: dict[int, float] = {}

    def begin(self, number: int) -> None:
        """Note an append by a number of its own."""
        self._began[number] = self._clock()

    def end(self, numbers: Iterable[int]) -> None:
        """Note that appends are answered."""
        self._note_answer()
        for number in numbers:
            del self._began[number]

    def age_s(self) -> float:
        """Return how long the oldest append has waited; 0 if there is none."""
        oldest = next(iter(self._began.values()), None)
        return 0.0 if oldest is None else self._clock() - oldest
