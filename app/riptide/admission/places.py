"""How many streams each client has open."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from riptide.admission.share import Share


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


class SharedPlaces(Places):
    """Counts the places that keys have in all workers.

    Workers that look at the same moment may give a key one place too many each, except one.
    ``kind`` keeps keys of different limits apart.
    """

    def __init__(self, limit: int, kind: str, share: Share) -> None:
        super().__init__(limit)
        self._kind = kind
        self._share = share

    def full(self, key: str) -> bool:
        """Return whether the key has reached the limit in all workers together."""
        if not key:
            return False
        left = self.limit - self._taken.get(key, 0)
        return left <= 0 or self._share.places_elsewhere(self._kind + key) >= left

    def take(self, key: str) -> None:
        """Count one place more."""
        super().take(key)
        self._show(key)

    def give_back(self, key: str) -> None:
        """Count one place less."""
        super().give_back(key)
        self._show(key)

    def _show(self, key: str) -> None:
        if key:
            self._share.show_places(self._kind + key, self._taken.get(key, 0))
