"""Finds the messages of the SQLite log that have expired, and deletes them.

Where messages cannot be read, those behind them tell their age: a message is no younger than the
next one of its topic.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import TYPE_CHECKING, NamedTuple

from riptide.storage.damage import is_damage
from riptide.storage.live_topics import Earliest, LiveTopic
from riptide.storage.topic_ends import find_bounds
from riptide.storage.whole_messages import COLUMNS, StoredTopic, checked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from riptide.storage.places import Place, Places

# Whole messages that are looked for at once where the log is damaged.
AROUND_DAMAGE = 500
# The newest messages, of which the first that is whole tells when the log was written last.
_NEWEST = f"SELECT topic_id, sequence, {COLUMNS} FROM messages ORDER BY position DESC LIMIT 100"  # noqa: S608  # columns of our own

_OLDEST = (
    "SELECT places.sequence, accepted_at FROM places JOIN messages USING (position) "
    "WHERE places.topic_id = ? ORDER BY places.sequence LIMIT 1"
)


def find_live_topics(connection: sqlite3.Connection, places: Places) -> Iterator[LiveTopic]:
    """Find the topics that have messages, from one to the next, whatever else is remembered.

    The age of a topic none of whose messages can be read counts from now.
    """
    topic_id, found = 0, set()
    while True:
        row = _next_live(connection, topic_id)
        if row is None:
            break
        topic_id, name, sequence, head, accepted_at = row
        found.add(topic_id)
        if sequence is None or head is None or accepted_at is None:
            yield from _look_closely(connection, topic_id, name, places.of(topic_id))
        else:
            newest = max(head, places.head(topic_id))
            yield LiveTopic(topic_id, name or "", Earliest(sequence, accepted_at), newest)
    for topic_id in places.topics() - found:
        row = connection.execute("SELECT name FROM topics WHERE id = ?", (topic_id,)).fetchone()
        name = None if row is None else row[0]
        yield from _look_closely(connection, topic_id, name, places.of(topic_id))


class _Row(NamedTuple):
    """A topic with its first place, its head, and the time of the message there, or None."""

    topic_id: int
    name: str | None
    sequence: int | None = None
    head: int | None = None
    accepted_at: int | None = None


def _next_live(connection: sqlite3.Connection, topic_id: int) -> _Row | None:
    """Return the next topic that has messages.

    In a part of the index that cannot be read, any topic may have some.
    """
    try:
        row = connection.execute(
            "SELECT topic_id, name, sequence, head, "
            "(SELECT accepted_at FROM messages WHERE messages.position = places.position) "
            "FROM places LEFT JOIN topics ON id = topic_id "
            "WHERE topic_id > ? ORDER BY topic_id, sequence LIMIT 1",
            (topic_id,),
        ).fetchone()
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        row = connection.execute(
            "SELECT id, name FROM topics WHERE id > ? ORDER BY id LIMIT 1", (topic_id,)
        ).fetchone()
    return row and _Row(*row)


def _look_closely(
    connection: sqlite3.Connection, topic_id: int, name: str | None, newest: Sequence[Place] = ()
) -> Iterator[LiveTopic]:
    """Yield the topic if it has messages, with the age of those that can be read."""
    earliest, head = find_bounds(connection, topic_id, newest)
    if earliest <= head:
        whole = StoredTopic(connection, topic_id, newest).next_whole(earliest, head)
        accepted_at = time.time_ns() if whole is None else whole.accepted_at
        yield LiveTopic(topic_id, name or "", Earliest(earliest, accepted_at), head)


def find_newest(connection: sqlite3.Connection) -> int | None:
    """Return when the newest message was accepted, in Unix nanoseconds; None without messages."""
    try:
        with contextlib.closing(connection.execute(_NEWEST)) as rows:
            for topic_id, sequence, *row in rows:
                message = checked(topic_id, sequence, row)
                if message is not None:
                    return message.accepted_at
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
    return None


def first_to_keep(
    connection: sqlite3.Connection, topic: LiveTopic, first_by_count: int, oldest: int
) -> int:
    """Return the sequence number of the first message that has not expired.

    Messages before ``first_by_count`` or from before ``oldest`` (Unix nanoseconds) have.

    Raises:
        sqlite3.Error: no message is known to have expired, because those that did cannot be read.

    """
    # Messages are accepted in the order of their numbers, so the scan ends at the first to keep.
    try:
        young = connection.execute(
            "SELECT places.sequence FROM places JOIN messages USING (position) "
            "WHERE places.topic_id = ? AND places.sequence >= ? AND accepted_at >= ? "
            "ORDER BY places.sequence LIMIT 1",
            (topic.topic_id, first_by_count, oldest),
        ).fetchone()
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        keep_from = max(first_by_count, _first_around_damage(connection, topic, oldest))
        if keep_from == topic.earliest.sequence:
            raise
        return keep_from
    return topic.head + 1 if young is None else int(young[0])


def _first_around_damage(connection: sqlite3.Connection, topic: LiveTopic, oldest: int) -> int:
    """Return the number behind the last message that is known to have expired, of some."""
    stored = StoredTopic(connection, topic.topic_id)
    first = topic.earliest.sequence
    for _ in range(AROUND_DAMAGE):
        whole = stored.next_whole(first, topic.head)
        if whole is None or whole.accepted_at >= oldest:
            break
        first = whole.sequence + 1
    return first


def delete_before(connection: sqlite3.Connection, topic_id: int, keep_from: int) -> Earliest | None:
    """Delete the messages before a sequence number; return the oldest one that is left.

    The caller commits.

    Raises:
        sqlite3.Error: the transaction has to be undone.

    """
    connection.execute(
        "DELETE FROM messages WHERE position IN "
        "(SELECT position FROM places WHERE topic_id = ? AND sequence < ?)",
        (topic_id, keep_from),
    )
    forget_before(connection, topic_id, keep_from)
    row = connection.execute(_OLDEST, (topic_id,)).fetchone()
    return row and Earliest(*row)


def forget_before(connection: sqlite3.Connection, topic_id: int, keep_from: int) -> None:
    """Let the messages before a sequence number belong to no topic any more.

    Beside a page that cannot be read, no message can be deleted. The caller commits.

    Raises:
        sqlite3.Error: the transaction has to be undone.

    """
    connection.execute(
        "DELETE FROM places WHERE topic_id = ? AND sequence < ?", (topic_id, keep_from)
    )
    # Forget lives of which the topic has no message left. A consumer that resumes from one of their
    # ids has missed messages in any case.
    connection.execute(
        "DELETE FROM beginnings WHERE topic_id = ? AND first < "
        "(SELECT max(first) FROM beginnings WHERE topic_id = ? AND first <= ?)",
        (topic_id, topic_id, keep_from),
    )


def find_earliest(connection: sqlite3.Connection, topic_id: int) -> Earliest | None:
    """Return the oldest message of a topic; if it cannot be read, with the age of the next one."""
    try:
        row = connection.execute(_OLDEST, (topic_id,)).fetchone()
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        found = next(_look_closely(connection, topic_id, None), None)
        return None if found is None else found.earliest
    return row and Earliest(*row)
