"""Finds the messages of the SQLite log that have expired, and deletes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.storage.live_topics import Earliest, LiveTopic

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from riptide.storage.places import Places


def find_live_topics(connection: sqlite3.Connection, places: Places) -> Iterator[LiveTopic]:
    """Find the topics that have messages, from one to the next, whatever else is remembered."""
    topic_id, found = 0, set()
    while True:
        row = connection.execute(
            "SELECT topic_id, name, sequence, head, "
            "(SELECT accepted_at FROM messages WHERE messages.position = places.position) "
            "FROM places LEFT JOIN topics ON id = topic_id "
            "WHERE topic_id > ? ORDER BY topic_id, sequence LIMIT 1",
            (topic_id,),
        ).fetchone()
        if row is None:
            break
        topic_id, name, sequence, head, accepted_at = row
        found.add(topic_id)
        head = max(head, places.head(topic_id))
        yield LiveTopic(topic_id, name, Earliest(sequence, accepted_at), head)
    for topic_id in places.topics() - found:
        oldest = places.of(topic_id)[0]
        accepted_at, name = connection.execute(
            "SELECT accepted_at, (SELECT name FROM topics WHERE id = topic_id) FROM messages "
            "WHERE position = ?",
            (oldest.position,),
        ).fetchone()
        earliest = Earliest(oldest.sequence, accepted_at)
        yield LiveTopic(topic_id, name, earliest, places.head(topic_id))


def find_newest(connection: sqlite3.Connection) -> int | None:
    """Return when the newest message was accepted, in Unix nanoseconds; None without messages."""
    row = connection.execute(
        "SELECT accepted_at FROM messages ORDER BY position DESC LIMIT 1"
    ).fetchone()
    return None if row is None else row[0]


def first_to_keep(
    connection: sqlite3.Connection, topic: LiveTopic, first_by_count: int, oldest: int
) -> int:
    """Return the sequence number of the first message that has not expired.

    Messages before ``first_by_count`` or from before ``oldest`` (Unix nanoseconds) have.
    """
    # Messages are accepted in the order of their numbers, so the scan ends at the first to keep.
    young = connection.execute(
        "SELECT places.sequence FROM places JOIN messages USING (position) "
        "WHERE places.topic_id = ? AND places.sequence >= ? AND accepted_at >= ? "
        "ORDER BY places.sequence LIMIT 1",
        (topic.topic_id, first_by_count, oldest),
    ).fetchone()
    return topic.head + 1 if young is None else int(young[0])


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
    return _find_earliest(connection, topic_id)


def _find_earliest(connection: sqlite3.Connection, topic_id: int) -> Earliest | None:
    row = connection.execute(
        "SELECT places.sequence, accepted_at FROM places JOIN messages USING (position) "
        "WHERE places.topic_id = ? ORDER BY places.sequence LIMIT 1",
        (topic_id,),
    ).fetchone()
    return row and Earliest(*row)
