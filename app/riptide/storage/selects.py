"""What is read from the tables of the SQLite log: bounds, names, ends of lives, and messages.

Whoever reads looks for places in memory first, and then in the file (``Places``). No function
leaves a statement open: that would keep the write-ahead log from being reused.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from riptide.message import Acceptance, Message
from riptide.storage.forgotten_topics import END_OF_LIFE
from riptide.storage.message_log import Bounds, ListedTopic, read_ends

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Generator, Sequence

    from riptide.storage.places import Place, Places


def probe(connection: sqlite3.Connection) -> None:
    """Read a little from the file."""
    # The writer's last commit, a probe too, has emptied this connection's cache of pages.
    for table in ("topics", "messages"):
        connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()  # noqa: S608  # two names


def _select_id(connection: sqlite3.Connection, topic: str) -> int | None:
    row = connection.execute("SELECT id FROM topics WHERE name = ?", (topic,)).fetchone()
    return None if row is None else int(row[0])


def select_bounds(connection: sqlite3.Connection, places: Places, topic: str) -> Bounds:
    """Return which messages of the topic there are."""
    topic_id = _select_id(connection, topic)
    if topic_id is None:
        return Bounds(earliest=1, head=0)
    newest = places.of(topic_id)
    earliest, head = connection.execute(
        "SELECT (SELECT min(sequence) FROM places WHERE topic_id = id), head "
        "FROM topics WHERE id = ?",
        (topic_id,),
    ).fetchone()
    return _bounds(earliest, head, newest)


def _bounds(earliest: int | None, head: int, newest: Sequence[Place]) -> Bounds:
    """Return the bounds of a topic by the index and by what is not in it yet."""
    if newest:
        head = max(head, newest[-1].sequence)
        earliest = newest[0].sequence if earliest is None else earliest
    return Bounds(head + 1 if earliest is None else earliest, head)


def select_topics(
    connection: sqlite3.Connection, places: Places, names: Sequence[str]
) -> list[ListedTopic]:
    """Return the topics of these names that have messages."""
    wanted = f"WHERE name IN ({', '.join('?' * len(names))})"
    ids = connection.execute(f"SELECT id FROM topics {wanted}", names)  # noqa: S608  # question marks
    newest = {topic_id: places.of(topic_id) for (topic_id,) in ids}
    rows = connection.execute(
        "SELECT id, name, head, (SELECT min(sequence) FROM places WHERE topic_id = topics.id), "  # noqa: S608  # as above
        "(SELECT epoch FROM beginnings JOIN lives ON number = life "
        f"WHERE topic_id = topics.id ORDER BY first DESC LIMIT 1) FROM topics {wanted} "
        "ORDER BY name",
        names,
    )
    listed = [
        ListedTopic(name, _bounds(earliest, head, newest[topic_id]), epoch)
        for topic_id, name, head, earliest, epoch in rows
        if topic_id in newest
    ]
    return [topic for topic in listed if not topic.bounds.is_empty()]


def select_end(connection: sqlite3.Connection, places: Places, life: int, topic: str) -> int | None:
    """Return where the topic ended in a life, None if it was forgotten since or came later."""
    # One statement sees the database as it is between two commits of the writer.
    end, is_forgotten = connection.execute(END_OF_LIFE, {"life": life, "topic": topic}).fetchone()
    if is_forgotten:
        return None
    return select_bounds(connection, places, topic).head if end is None else int(end)


def _select_epochs(
    connection: sqlite3.Connection, topic_id: int, after: int
) -> list[tuple[int, str]]:
    """Return the first sequence number and the epoch of each life in the topic, newest first.

    The last of them is the life of the message that follows ``after``.
    """
    return connection.execute(
        "SELECT first, epoch FROM beginnings JOIN lives ON number = life "
        "WHERE topic_id = ?1 AND first >= coalesce("
        "(SELECT max(first) FROM beginnings WHERE first <= ?2 AND topic_id = ?1), 0) "
        "ORDER BY first DESC",
        (topic_id, after + 1),
    ).fetchall()


def select_messages(
    connection: sqlite3.Connection, places: Places, topic: str, after: int
) -> list[Message]:
    """Return the messages of the topic that follow ``after``, as many as one read has."""
    topic_id = _select_id(connection, topic)
    if topic_id is None:
        return []
    kept, size = [], 0
    with contextlib.closing(_rows(connection, topic_id, after, places.of(topic_id))) as rows:
        for row in rows:
            kept.append(row)
            size += len(row[2])
            if read_ends(row[0], size):
                break
    # Read after the messages, so that the life of each message is among them.
    epochs = _select_epochs(connection, topic_id, after)
    messages = []
    # One difference between the two clocks for all messages, so that they stay in order.
    now = accepted = Acceptance.now()
    for sequence, accepted_at, payload, traceparent in kept:
        if accepted_at != accepted.unix_ns:
            accepted = Acceptance.at(accepted_at, now)
        while len(epochs) > 1 and epochs[-2][0] <= sequence:
            epochs.pop()
        epoch = epochs[-1][1]
        messages.append(Message(epoch, sequence, accepted, payload, traceparent or ""))
    return messages


def _rows(
    connection: sqlite3.Connection, topic_id: int, after: int, newest: Sequence[Place]
) -> Generator[tuple[int, int, bytes, str | None]]:
    """Find the messages of a topic after a sequence number, by the index and behind it."""
    indexed = connection.execute(
        "SELECT messages.sequence, accepted_at, payload, traceparent "
        "FROM places JOIN messages USING (position) "
        "WHERE places.topic_id = ? AND places.sequence > ? ORDER BY places.sequence",
        (topic_id, after),
    )
    with contextlib.closing(indexed):
        for row in indexed:
            after = row[0]
            yield row
    for place in newest:
        if place.sequence > after:
            # It may have expired meanwhile.
            yield from connection.execute(
                "SELECT sequence, accepted_at, payload, traceparent FROM messages "
                "WHERE position = ?",
                (place.position,),
            ).fetchall()
