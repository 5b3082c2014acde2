"""Deletes expired messages in short steps, so that no append waits long for its turn."""

from __future__ import annotations

import logging
import sqlite3
from typing import TYPE_CHECKING

from riptide.storage.damage import is_damage
from riptide.storage.disk_room import explain, is_full
from riptide.storage.expired_messages import (
    delete_before,
    find_earliest,
    first_to_keep,
    forget_before,
)
from riptide.storage.step import Step
from riptide.storage.transaction import may_be_of_one_topic, unsynced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from riptide.storage.live_topics import Earliest, LiveTopic, LiveTopics
    from riptide.storage.message_log import Retention
    from riptide.storage.places import Places
    from riptide.storage.sqlite_file import SqliteFile

logger = logging.getLogger("riptide.log")

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
            logger.warning("expired messages could not be deleted: %s", explain(error))
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
        due = self._live.due(self._retention.oldest_kept(), STEP_TOPICS)
        if not due:
            return False
        step = Step(hurry)
        try:
            self._delete_together(connection, step, due)
        except sqlite3.DatabaseError as error:
            is_of_these = len(due) > 1 or is_damage(error)
            if not is_of_these or not may_be_of_one_topic(error):
                raise
            # Nothing was deleted. One topic at a time shows which of them it was.
            self._delete_apart(connection, step, due)
        return True

    def _delete_together(
        self, connection: sqlite3.Connection, step: Step, due: Sequence[LiveTopic]
    ) -> None:
        oldest = self._retention.oldest_kept()
        left: list[tuple[LiveTopic, Earliest | None]] = []
        with unsynced(connection):
            for topic in due:
                # A deletion finds messages by their places in the file.
                self._places.write_topic(connection, topic.topic_id)
                keep_from = self._keep_from(connection, topic, oldest)
                left.append((topic, delete_before(connection, topic.topic_id, keep_from)))
                if step.is_over():
                    break
        for topic, earliest in left:
            self._places.forget(topic.topic_id)
            self._live.settle(topic, earliest)
            self._failed.pop(topic.topic_id, None)

    def _delete_apart(
        self, connection: sqlite3.Connection, step: Step, due: Sequence[LiveTopic]
    ) -> None:
        for topic in due:
            try:
                self._delete_one(connection, step, topic)
            except sqlite3.DatabaseError as error:
                if not may_be_of_one_topic(error):
                    raise
                self._pass_over(topic, error)
            if step.is_over():
                break

    def _delete_one(self, connection: sqlite3.Connection, step: Step, topic: LiveTopic) -> None:
        """Delete expired messages of a topic, if need be only the topic's knowledge of them."""
        try:
            self._delete_together(connection, step, [topic])
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self._forget_expired(connection, topic)

    def _forget_expired(self, connection: sqlite3.Connection, topic: LiveTopic) -> None:
        # Within a transaction that has met a damaged page, SQLite writes nothing more.
        with unsynced(connection):
            self._places.write_topic(connection, topic.topic_id)
        self._places.forget(topic.topic_id)
        keep_from = self._keep_from(connection, topic, self._retention.oldest_kept())
        with unsynced(connection):
            forget_before(connection, topic.topic_id, keep_from)
        self._live.settle(topic, find_earliest(connection, topic.topic_id))

    def _keep_from(self, connection: sqlite3.Connection, topic: LiveTopic, oldest: int) -> int:
        """Return the sequence number before which messages are deleted in one step."""
        first_kept = self._live.first_kept(topic)
        keep_from = first_to_keep(connection, topic, first_kept, oldest)
        return min(keep_from, topic.earliest.sequence + self._messages)

    def _pass_over(self, topic: LiveTopic, error: sqlite3.DatabaseError) -> None:
        self._live.put_aside(topic)
        if self._failed.get(topic.topic_id) != str(error):
            self._failed[topic.topic_id] = str(error)
            logger.error(
                "expired messages of one topic, number %d in the log, cannot be deleted: %s",
                topic.topic_id,
                error,
            )
