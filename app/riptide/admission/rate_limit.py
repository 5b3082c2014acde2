"""A token bucket for each key, kept as one number: when it will be full again.

No library fits: ``limits`` starts a timer thread and costs tens of microseconds a hit;
``aiolimiter`` delays callers, and ours must be refused.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Beyond this many buckets, the one that was used least recently is forgotten, as if it were full.
MAX_KEYS = 10_000
BURST_S = 5.0
ROUNDING_S = 1e-6


class RateLimit:
    """Allows each key ``per_second`` units a second, and ``BURST_S`` seconds' worth at once.

    A key with one unit left may take any number, and go into debt: a batch is never refused for
    its size, but the next one has to wait until the debt is paid.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_second = per_second
        self._clock = clock
        # By key, least recently used first: the clock's time when the bucket will be full again.
        self._full_at: dict[str, float] = {}

    def wait_s(self, key: str) -> float:
        """Return the seconds until one unit may be taken; 0 if one may now."""
        full_at = self._full_at.get(key)
        if full_at is None:
            return 0.0
        one_s = 1 / self.per_second
        # A bucket holds one unit at least, however low the rate.
        wait_s = full_at + one_s - self._clock() - max(BURST_S, one_s)
        return wait_s if wait_s > ROUNDING_S else 0.0

    def take(self, key: str, count: int = 1) -> None:
        """Take ``count`` units, even if the bucket has fewer."""
        now = self._clock()
        full_at = max(now, self._full_at.pop(key, now))
        self._full_at[key] = full_at + count / self.per_second
        if len(self._full_at) > MAX_KEYS:
            del self._full_at[next(iter(self._full_at))]
