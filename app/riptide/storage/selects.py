"""What is read from the tables of the SQLite log: bounds, names, ends of lives, and messages.

Whoever reads looks for places in memory first, and then in the file (``Places``). No function
leaves a statement open: that would keep the write-ahead log from being reused.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from riptide.errors import DamagedMessagesError
from riptide.message import Acceptance, Message
from riptide.storage.damage import is_damage
from riptide.storage.forgotten_topics import END_OF_LIFE
from riptide.storage.message_log import Bounds, IdState, id_state
from riptide.storage.topic_ends import find_bounds, find_id
from riptide.storage.whole_messages import StoredTopic, read_whole

if TYPE_CHECKING:
    from riptide.message import MessageId
    from riptide.storage.damage import Damage
    from riptide.storage.places import Places


def probe(connection: sqlite3.Connection, damage: Damage) -> None:
    """Read a little from the file."""
    # The writer's last commit, a probe too, has emptied this connection's cache of pages.
    for table in ("topics", "messages"):
        try:
            connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()  # noqa: S608  # two names
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            # A page is damaged, while the rest of the log is served.
            damage.require_disk()


def select_bounds(connection: sqlite3.Connection, places: Places, topic: str) -> Bounds:
    """Return which messages of the topic there are."""
    topic_id = find_id(connection, topic)
    if topic_id is None:
        return Bounds(earliest=1, head=0)
    return find_bounds(connection, topic_id, places.of(topic_id))


def select_id_state(
    connection: sqlite3.Connection, places: Places, life: int, topic: str, position: MessageId
) -> IdState:
    """Return what is known of an id of a life.

    It is never known if the topic was forgotten since that life, or came later.
    """
    # One statement sees the database as it is between two commits of the writer.
    end, is_forgotten = connection.execute(END_OF_LIFE, {"life": life, "topic": topic}).fetchone()
    if is_forgotten:
        return IdState.NEVER
    bounds = select_bounds(connection, places, topic)
    return id_state(position, bounds, bounds.head if end is None else int(end))


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
    connection: sqlite3.Connection, places: Places, damage: Damage, topic: str, after: int
) -> list[Message]:
    """Return the messages of the topic that follow ``after``, as many as one read has.

    Raises:
        DamagedMessagesError: the next ones are damaged.

    """
    topic_id = find_id(connection, topic)
    if topic_id is None:
        return []
    stored = StoredTopic(connection, topic_id, places.of(topic_id))
    try:
        rows = read_whole(stored, topic, after)
    except DamagedMessagesError as damaged:
        damage.found(topic, damaged.first, damaged.last)
        raise
    if not rows:
        return []
    # Read after the messages, so that the life of each message is among them.
    epochs = _select_epochs(connection, topic_id, after)
    if not epochs:
        damage.found_no_life(topic)
        raise sqlite3.DatabaseError("it is damaged in which life its messages were published")
    messages = []
    # One difference between the two clocks for all messages, so that they stay in order.
    now = accepted = Acceptance.now()
    for sequence, accepted_at, payload, traceparent in rows:
        if accepted_at != accepted.unix_ns:
            accepted = Acceptance.at(accepted_at, now)
        while len(epochs) > 1 and epochs[-2][0] <= sequence:
            epochs.pop()
        epoch = epochs[-1][1]
        messages.append(Message(epoch, sequence, *accepted, payload, traceparent))
    return messages
