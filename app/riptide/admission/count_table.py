"""A count for each key, in memory that one process writes and others read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from riptide.admission.hashed_key import HashedKey

BUCKET = 8
COUNT_BITS = 24
MOST = (1 << COUNT_BITS) - 1


class CountTable:
    """Buckets of eight numbers, each the tag of a key and its count; 0 is free.

    A number is copied in one piece and never moves, so that a reader finds a key with the count
    before or after a change, and needs no lock. A key is in either of its two buckets, so that they
    fill evenly: the table has room until it is nearly full.
    """

    def __init__(self, numbers: memoryview) -> None:
        self._numbers = numbers
        self._buckets = len(numbers) // BUCKET
        # Where the keys are that this process has written.
        self._places: dict[HashedKey, int] = {}

    def get(self, key: HashedKey) -> int:
        """Return the count of a key, 0 if it has none."""
        for start in self._starts(key):
            for number in self._numbers[start : start + BUCKET].tolist():
                if number and number >> COUNT_BITS == key.tag:
                    return int(number & MOST)
        return 0

    def put(self, key: HashedKey, count: int) -> bool:
        """Set the count of a key; return False if there is no room for one more key."""
        place = self._places.get(key)
        if not count:
            if place is not None:
                self._numbers[self._places.pop(key)] = 0
            return True
        if place is None:
            place = self._free_place(key)
            if place is None:
                return False
            self._places[key] = place
        self._numbers[place] = key.tag << COUNT_BITS | min(count, MOST)
        return True

    def _free_place(self, key: HashedKey) -> int | None:
        """Return a free place, in the emptier one of the key's buckets; None if both are full."""
        buckets = [(self._numbers[s : s + BUCKET].tolist(), s) for s in self._starts(key)]
        numbers, start = max(buckets, key=lambda bucket: bucket[0].count(0))
        return start + numbers.index(0) if 0 in numbers else None

    def _starts(self, key: HashedKey) -> tuple[int, int]:
        return key.first % self._buckets * BUCKET, key.second % self._buckets * BUCKET
