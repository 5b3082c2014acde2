"""A token bucket for each key, kept as one number: when it will be full again.

No library fits: ``limits`` starts a timer thread and costs tens of microseconds a hit;
``aiolimiter`` delays callers, and ours must be refused.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from riptide.admission.bucket_times import BucketTimes, OwnTimes

if TYPE_CHECKING:
    from collections.abc import Callable

BURST_S = 5.0
ROUNDING_S = 1e-6


class RateLimit:
    """Allows each key ``per_second`` units a second, and ``BURST_S`` seconds' worth at once.

    A key with one unit left may take any number, and go into debt: a batch is never refused for
    its size, but the next one has to wait until the debt is paid.
    """

    def __init__(
        self,
        per_second: float,
        clock: Callable[[], float] = time.monotonic,
        times: BucketTimes | None = None,
    ) -> None:
        self.per_second = per_second
        self._clock = clock
        self._times: BucketTimes = OwnTimes() if times is None else times

    def wait_s(self, key: str) -> float:
        """Return the seconds until one unit may be taken; 0 if one may now."""
        full_at = self._times.get(key)
        if full_at is None:
            return 0.0
        one_s = 1 / self.per_second
        # A bucket holds one unit at least, however low the rate.
        wait_s = full_at + one_s - self._clock() - max(BURST_S, one_s)
        return wait_s if wait_s > ROUNDING_S else 0.0

    def take(self, key: str, count: int = 1) -> None:
        """Take ``count`` units, even if the bucket has fewer."""
        self._times.add(key, self._clock(), count / self.per_second)
