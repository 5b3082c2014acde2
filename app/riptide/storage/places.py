"""Where the messages of a topic are in the file: an index of which the newest part is in memory.

Messages lie in the file in the order in which they were published, whatever their topics, so that
a commit writes to its end. The table ``places`` says where those of a topic are. A row of it for
each message of each commit would make every commit write a page of its own for each topic; so rows
are written for many messages at a time, and what is not written yet is held in memory. After a
crash it is found again from the messages behind the last indexed position.
"""

from __future__ import annotations

import logging
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from riptide.storage.transaction import may_be_of_one_topic, unsynced

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from riptide.storage.step import Step

logger = logging.getLogger("riptide.log")

# Places that are held in memory. A restart after a crash reads as many messages.
HELD = 5_000


class Place(NamedTuple):
    """The position of a message in the file, and the bytes of its payload."""

    sequence: int
    position: int
    size: int


class Places:
    """The places that the file does not have yet. One thread changes them, any may look.

    A reader looks here first, and then into the file: what was written in between, it finds twice,
    but it misses nothing.
    """

    def __init__(self) -> None:
        self._newest: dict[int, list[Place]] = {}
        # Topics whose places are being written, and how many places have come since that began.
        self._due: list[int] = []
        self._count = 0
        # The position of the next message. Positions of deleted messages are not given again.
        self.next_position = 1

    def add(self, topic_id: int, places: Iterable[Place]) -> None:
        """Take the places of messages that were committed, in the order of their positions."""
        newest = self._newest.setdefault(topic_id, [])
        before = len(newest)
        newest.extend(places)
        self._count += len(newest) - before
        self.next_position = max(self.next_position, newest[-1].position + 1)

    def of(self, topic_id: int) -> Sequence[Place]:
        """Return the newest places of a topic, by sequence number."""
        return tuple(self._newest.get(topic_id, ()))

    def all(self) -> Mapping[int, Sequence[Place]]:
        """Return the newest places of all topics, by the id of the topic."""
        return self._newest

    def head(self, topic_id: int) -> int:
        """Return the sequence number of the topic's newest message here; 0 if there is none."""
        newest = self._newest.get(topic_id)
        return newest[-1].sequence if newest else 0

    def topics(self) -> set[int]:
        """Return the ids of the topics that have places here."""
        return set(self._newest)

    def are_many(self) -> bool:
        """Return whether it is time to write them, or to go on with that."""
        return bool(self._due) or self._count >= HELD

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self._newest)

    def write_some(self, connection: sqlite3.Connection, step: Step | None = None) -> None:
        """Write places to the file until the step is over; without a step, write all.

        Those of a topic whose part of the index is damaged stay in memory. No sync is needed: after
        a power cut, they are found again.

        Raises:
            sqlite3.Error: the disk is full or the file is locked.

        """
        if step is None or not self._due:
            self._due = sorted(self._newest)
            self._count = 0
        if not self._due:
            return
        try:
            self._write_together(connection, step)
        except sqlite3.DatabaseError as error:
            if not may_be_of_one_topic(error):
                raise
            # Nothing was written. One topic at a time shows whose part it is.
            self._write_apart(connection)

    def write_topic(self, connection: sqlite3.Connection, topic_id: int) -> None:
        """Write the places of a topic within a transaction; ``forget`` them once it is committed.

        Raises:
            sqlite3.Error: the transaction has to be undone.

        """
        newest = self._newest.get(topic_id)
        if newest is None:
            return
        connection.executemany(
            "INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?)",
            [(topic_id, *place) for place in newest],
        )
        connection.execute(
            "UPDATE topics SET head = max(head, ?) WHERE id = ?", (newest[-1].sequence, topic_id)
        )

    def forget(self, topic_id: int) -> None:
        """Forget the places of a topic, which the file has by now."""
        self._newest.pop(topic_id, None)

    def _write_together(self, connection: sqlite3.Connection, step: Step | None) -> None:
        written = 0
        with unsynced(connection):
            for topic_id in self._due:
                self.write_topic(connection, topic_id)
                written += 1
                if step is not None and step.is_over():
                    break
            if written == len(self._due):
                self._write_progress(connection, self._newest.keys() - {*self._due})
        for topic_id in self._due[:written]:
            self.forget(topic_id)
        del self._due[:written]

    def _write_apart(self, connection: sqlite3.Connection) -> None:
        while self._due:
            topic_id = self._due.pop()
            try:
                with unsynced(connection):
                    self.write_topic(connection, topic_id)
            except sqlite3.DatabaseError as error:
                if not may_be_of_one_topic(error):
                    raise
                logger.error(  # noqa: TRY400  # SQLite's text is all there is to know
                    "the index of one topic, number %d in the log, is damaged: %s", topic_id, error
                )
            else:
                self.forget(topic_id)
        with unsynced(connection):
            self._write_progress(connection, self._newest.keys())

    def _write_progress(self, connection: sqlite3.Connection, left: Iterable[int]) -> None:
        """Note up to which position all messages are in the index, if some topics are left."""
        oldest = (self._newest[topic_id][0].position for topic_id in left)
        indexed = min(oldest, default=self.next_position) - 1
        connection.execute("UPDATE progress SET indexed = ?", (indexed,))
