"""The newest record of each topic, as far as this instance knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from riptide.message import MessageId

# Those that were of use the longest ago are looked up again.
REMEMBERED = 100_000


class Head(NamedTuple):
    """The id of a topic's newest message, and the number of its newest record in the stream."""

    id: MessageId
    sequence: int


class Heads:
    """Heads that the stream has told, the newest of each topic."""

    def __init__(self) -> None:
        self._heads: dict[str, Head] = {}
        # The highest number of the stream that was seen.
        self.last_sequence = 0

    def get(self, topic: str) -> Head | None:
        """Return what is known; None if nothing is."""
        return self._heads.get(topic)

    def note(self, topic: str, head: Head) -> None:
        """Take a head, unless a newer one is known."""
        self.last_sequence = max(self.last_sequence, head.sequence)
        known = self._heads.pop(topic, None)
        self._heads[topic] = head if known is None or known.sequence < head.sequence else known
        if len(self._heads) > REMEMBERED:
            del self._heads[next(iter(self._heads))]

    def forget(self, topic: str) -> None:
        """Look the topic up again when it is needed."""
        self._heads.pop(topic, None)

    def forget_all(self) -> None:
        """Forget what the stream has told: it has gone back."""
        self._heads.clear()
        self.last_sequence = 0
