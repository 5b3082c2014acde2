"""Deletes expired messages in short steps, so that no append waits long for its turn."""

from __future__ import annotations

import logging
import sqlite3
import time
from typing import TYPE_CHECKING

from riptide.storage.disk_room import is_full, is_in_use
from riptide.storage.expired_messages import delete_before, first_to_keep
from riptide.storage.transaction import unsynced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from riptide.storage.live_topics import Earliest, LiveTopic, LiveTopics
    from riptide.storage.message_log import Retention
    from riptide.storage.places import Places
    from riptide.storage.sqlite_file import SqliteFile

logger = logging.getLogger("riptide.log")

# The time of one step while nothing waits, and while appends do. The second is not 0, so that
# retention is kept however many publishers there are.
STEP_S = 0.01
HURRIED_STEP_S = 0.001
# Topics that are looked up for a step, and messages that are deleted from a topic at once.
STEP_TOPICS = 1_000
TRIM_MESSAGES = 500
# By so much fewer are deleted after each deletion that the disk had no room for.
TRIM_DIVISOR = 10


class Trim:
    """Keeps the retention, a step at a time.

    A step is one transaction. A power cut may undo it, as it is not synced by itself: then its
    messages expire again. A topic whose messages cannot be deleted is passed over until the next
    round, so that it harms no other.
    """

    def __init__(
        self, file: SqliteFile, retention: Retention, live: LiveTopics, places: Places
    ) -> None:
        self._file = file
        self._retention = retention
        self._live = live
        self._places = places
        self._messages = TRIM_MESSAGES
        # True from a commit or a deletion that the disk had no room for until one that it had.
        self.lacks_room = False
        # Topics that could not be trimmed, by id, with the error that was said.
        self._failed: dict[int, str] = {}

    def begin_round(self) -> None:
        """Look at all topics again, also at those that could not be trimmed."""
        self._live.take_back()

    def step(self, connection: sqlite3.Connection, hurry: Callable[[], bool]) -> bool:
        """Delete some expired messages; return whether more are left.

        The step ends soon once ``hurry`` returns True.
        """
        try:
            if self.lacks_room:
                self._file.make_room(connection)
            more = self._delete_some(connection, hurry)
            self.lacks_room = False
            if not more:
                self._messages = TRIM_MESSAGES
                self._file.room.make_reserve()
        except (sqlite3.Error, OSError) as error:
            self.lacks_room = is_full(error)
            if self.lacks_room and self._find_room():
                return True
            logger.warning("expired messages could not be deleted: %s", error)
            return False
        return more

    def _find_room(self) -> bool:
        """Prepare another attempt to delete, with more room or in less; False if there is none."""
        if self._file.room.give_up_reserve():
            return True
        fewer = self._messages // TRIM_DIVISOR
        self._messages = max(1, fewer)
        return fewer > 0

    def _delete_some(self, connection: sqlite3.Connection, hurry: Callable[[], bool]) -> bool:
        oldest = self._retention.oldest_kept()
        due = self._live.due(oldest, STEP_TOPICS)
        if not due:
            return False
        # Deletions find messages by their places in the file.
        self._places.write(connection)
        step = _Step(connection, oldest, hurry)
        try:
            self._delete_together(step, due)
        except sqlite3.DatabaseError as error:
            if len(due) == 1 or is_full(error) or is_in_use(error):
                raise
            # Nothing was deleted. One topic at a time shows which of them it was.
            self._delete_apart(step, due)
        return True

    def _delete_together(self, step: _Step, due: Sequence[LiveTopic]) -> None:
        left: list[tuple[LiveTopic, Earliest | None]] = []
        with unsynced(step.connection):
            for topic in due:
                left.append((topic, self._delete_from(step, topic)))
                if step.is_over():
                    break
        for topic, earliest in left:
            self._live.settle(topic, earliest)
            self._failed.pop(topic.topic_id, None)

    def _delete_apart(self, step: _Step, due: Sequence[LiveTopic]) -> None:
        for topic in due:
            try:
                self._delete_together(step, [topic])
            except sqlite3.DatabaseError as error:
                if is_full(error) or is_in_use(error):
                    raise
                self._pass_over(topic, error)
            if step.is_over():
                break

    def _delete_from(self, step: _Step, topic: LiveTopic) -> Earliest | None:
        first_kept = self._retention.first_kept(topic.head)
        keep_from = first_to_keep(step.connection, topic, first_kept, step.oldest)
        step_end = topic.earliest.sequence + self._messages
        return delete_before(step.connection, topic.topic_id, min(keep_from, step_end))

    def _pass_over(self, topic: LiveTopic, error: sqlite3.DatabaseError) -> None:
        self._live.put_aside(topic)
        if self._failed.get(topic.topic_id) != str(error):
            self._failed[topic.topic_id] = str(error)
            logger.error(
                "expired messages of one topic, number %d in the log, cannot be deleted: %s",
                topic.topic_id,
                error,
            )


class _Step:
    """One step: its connection, the time before which messages have expired, and its end."""

    def __init__(
        self, connection: sqlite3.Connection, oldest: int, hurry: Callable[[], bool]
    ) -> None:
        self.connection = connection
        self.oldest = oldest
        self._hurry = hurry
        self._begun = time.monotonic()

    def is_over(self) -> bool:
        """Return whether the step has had its time."""
        lasted = time.monotonic() - self._begun
        return lasted >= STEP_S or (lasted >= HURRIED_STEP_S and self._hurry())
