"""A token bucket for each key, kept as one number: when it will be full again.

The libraries there are would do: ``limits`` starts a timer thread and takes tens of microseconds a
hit, ``aiolimiter`` makes callers wait where ours are to be refused.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Buckets remembered; beyond that, those who were not seen for longest begin with a full one.
MAX_KEYS = 10_000
BURST_S = 5.0
ROUNDING_S = 1e-6


class RateLimit:
    """So much a second, and up to ``BURST_S`` seconds of it at once.

    Who has anything left may take any amount, and is in debt then: a batch is not refused for its
    size, but the next one has to wait for it.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_second = per_second
        self._clock = clock
        # In the order of last use.
        self._full_at: dict[str, float] = {}

    def wait_s(self, key: str) -> float:
        """Return in how many seconds there is something to take; 0: now."""
        full_at = self._full_at.get(key)
        if full_at is None:
            return 0.0
        one_s = 1 / self.per_second
        # A full bucket has at least one.
        wait_s = full_at + one_s - self._clock() - max(BURST_S, one_s)
        return wait_s if wait_s > ROUNDING_S else 0.0

    def take(self, key: str, count: int = 1) -> None:
        """Take so much, whether it is there or not."""
        now = self._clock()
        full_at = max(now, self._full_at.pop(key, now))
        self._full_at[key] = full_at + count / self.per_second
        if len(self._full_at) > MAX_KEYS:
            del self._full_at[next(iter(self._full_at))]
