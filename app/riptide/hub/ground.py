"""Whether a consumer that is behind gains ground on the head of its topic."""

from __future__ import annotations

from riptide.message import NANOSECONDS

# A consumer that is behind is compared with itself at least this often, however large the lag is
# that it may have.
WINDOW_S = 300.0


class Ground:
    """Compares how far a consumer is behind at the beginning and at the end of each window.

    A consumer gains ground if its lag has become shorter in messages or in seconds. It is enough
    that one of them has: an hour of many messages may lie behind a consumer and an hour of few
    before it, or the other way round.
    """

    __slots__ = ("_lag_ns", "_queued", "_since_ns", "gained")

    def __init__(self, now_ns: int, queued: int, lag_ns: int) -> None:
        self._since_ns, self._queued, self._lag_ns = now_ns, queued, lag_ns
        # Whether the consumer gained ground in the last window. True until the first one is over.
        self.gained = True

    def excuse(self, duration_ns: int) -> None:
        """Make the window longer by a time in which the consumer waited for the service."""
        self._since_ns += duration_ns

    def look(self, now_ns: int, queued: int, lag_ns: int, limit_s: float) -> None:
        """Note how far the consumer is behind now. Consumers may be behind by ``limit_s``."""
        if now_ns - self._since_ns >= min(limit_s, WINDOW_S) * NANOSECONDS:
            self.gained = queued < self._queued or lag_ns < self._lag_ns
            self._since_ns, self._queued, self._lag_ns = now_ns, queued, lag_ns
