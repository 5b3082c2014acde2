"""How many streams each client has open."""

from __future__ import annotations


class Places:
    """Counts the places of each key, up to a limit; a key without places takes no memory."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken: dict[str, int] = {}

    def full(self, key: str) -> bool:
        """Return whether the key has reached the limit; the empty key, uncounted, never has."""
        return self._taken.get(key, 0) >= self.limit

    def take(self, key: str) -> None:
        """Count one place more."""
        if key:
            self._taken[key] = self._taken.get(key, 0) + 1

    def give_back(self, key: str) -> None:
        """Count one place less."""
        left = self._taken.pop(key, 0) - 1
        if left > 0:
            self._taken[key] = left

    def __len__(self) -> int:
        """Return how many keys have places."""
        return len(self._taken)
