"""The epoch in which an instance writes."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from riptide.storage.jetstream.record import Record

# Topics whose numbers are remembered at once.
REMEMBERED = 100_000


class Life:
    """Sees to it that this instance gives no id a second time, whatever becomes of the stream.

    A stream that was restored, deleted or purged takes numbers again that its topics have had. What
    is given them then is of another epoch.
    """

    def __init__(self) -> None:
        self.epoch = ""
        self._epochs: set[str] = set()
        # By topic: the last number that was given, or may have been, in this epoch.
        self._given: dict[str, int] = {}
        self.begin_anew()

    def begin_anew(self) -> None:
        """Write in another epoch from now on."""
        self.epoch = secrets.token_hex(4)
        self._epochs.add(self.epoch)
        self._given.clear()

    def has_written(self, record: Record) -> bool:
        """Return whether this instance has written a record."""
        return record.writer.partition(".")[0] in self._epochs

    def epoch_for(self, topic: str, first: int) -> str:
        """Return an epoch in which a topic's numbers have not been given from ``first`` on."""
        if first <= self._given.get(topic, 0):
            self.begin_anew()
        return self.epoch

    def note(self, topic: str, epoch: str, last: int) -> None:
        """Remember that a topic's numbers were given up to ``last``, or may have been."""
        if epoch != self.epoch:
            return
        if len(self._given) >= REMEMBERED and topic not in self._given:
            # There is no need to know what was given in another epoch.
            self.begin_anew()
        self._given[topic] = max(last, self._given.get(topic, 0))
