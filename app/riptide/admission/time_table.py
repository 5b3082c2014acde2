"""A time for each key, in memory that several processes write."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from riptide.admission.hashed_key import HashedKey

BUCKET = 8


class TimeTable:
    """Buckets of eight tags of keys and their times; a key without room replaces the earliest.

    No lock is taken, so a process that is stopped or killed holds up nobody. Each number is copied
    in one piece. Of two changes to one key in the same instant, one is lost.
    """

    def __init__(self, memory: memoryview) -> None:
        self._tags = memory.cast("Q")
        self._times = memory.cast("d")
        self._buckets = len(self._tags) // (2 * BUCKET)

    def get(self, key: HashedKey) -> float | None:
        """Return the time of a key, None if it has none, or was replaced."""
        for start in self._starts(key):
            tags = self._tags[start : start + BUCKET].tolist()
            if key.tag in tags:
                time: float = self._times[start + BUCKET + tags.index(key.tag)]
                return time
        return None

    def add(self, key: HashedKey, now: float, seconds: float) -> None:
        """Make the time of a key, or ``now`` if that is later, so many seconds later."""
        earliest, place = float("inf"), 0
        for start in self._starts(key):
            tags = self._tags[start : start + BUCKET].tolist()
            if key.tag in tags:
                place = start + BUCKET + tags.index(key.tag)
                # Nothing is between reading and writing, so that few changes meet.
                time = self._times[place]
                self._times[place] = (max(now, time)) + seconds
                return
            times = self._times[start + BUCKET : start + 2 * BUCKET].tolist()
            if (least := min(times)) < earliest:
                earliest, place = least, start + times.index(least)
        # The tag comes first: until the time is there, the key has an earlier one.
        self._tags[place] = key.tag
        self._times[place + BUCKET] = now + seconds

    def _starts(self, key: HashedKey) -> tuple[int, int]:
        buckets = self._buckets
        return key.first % buckets * 2 * BUCKET, key.second % buckets * 2 * BUCKET
