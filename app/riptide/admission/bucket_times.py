"""Where the buckets of a rate limit are kept: in this process, or in memory that workers share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from riptide.admission.share import Share

# Beyond this many buckets, the one that was used least recently is forgotten, as if it were full.
MAX_KEYS = 10_000


class BucketTimes(Protocol):
    """For each key, the time at which its bucket will be full again."""

    def get(self, key: str) -> float | None:
        """Return the time of a key, None if its bucket is full or forgotten."""

    def add(self, key: str, now: float, seconds: float) -> None:
        """Let a bucket be full so many seconds later; it is full at ``now`` at the earliest."""


class OwnTimes(dict[str, float]):
    """The buckets of this process, least recently used first."""

    def add(self, key: str, now: float, seconds: float) -> None:
        """Let a bucket be full so many seconds later."""
        self[key] = max(now, self.pop(key, now)) + seconds
        if len(self) > MAX_KEYS:
            del self[next(iter(self))]


class SharedTimes:
    """The buckets that all workers share; ``kind`` keeps those of different limits apart.

    What two workers take from one bucket at the same instant may count once.
    """

    def __init__(self, kind: str, share: Share) -> None:
        self._kind = kind
        self._hashed = share.hashed
        self._times = share.times

    def get(self, key: str) -> float | None:
        """Return the time of a key."""
        return self._times.get(self._hashed(self._kind + key))

    def add(self, key: str, now: float, seconds: float) -> None:
        """Let a bucket be full so many seconds later."""
        self._times.add(self._hashed(self._kind + key), now, seconds)
