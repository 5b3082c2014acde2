"""Finds the messages that are not in the index yet, after a crash, and passes over damaged ones.

Nothing but the message itself says here which topic it is of. So one that does not follow the last
of its topic is taken only if it passes its check.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from riptide.storage.damage import is_damage
from riptide.storage.places import Place
from riptide.storage.topic_ends import find_head
from riptide.storage.whole_messages import COLUMNS, checked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from riptide.storage.damage import Damage
    from riptide.storage.places import Places

# So many positions behind a page that cannot be read are tried one by one.
ONE_BY_ONE = 1000
_ROWS = (
    "SELECT CAST(topic_id AS INTEGER), CAST(sequence AS INTEGER), position, length(payload) "
    "FROM messages WHERE position >= ? ORDER BY position LIMIT ?"
)
_AT_POSITION = f"SELECT {COLUMNS} FROM messages WHERE position = ?"  # noqa: S608  # columns of our own
_ALL = -1


class Unindexed(NamedTuple):
    """A message: its topic, its number there, its position, and the bytes of its payload."""

    topic_id: int
    sequence: int
    position: int
    size: int


def load_places(places: Places, connection: sqlite3.Connection, damage: Damage) -> None:
    """Let ``places`` have those of the messages that are not indexed yet.

    Raises:
        sqlite3.Error: the log cannot be read, or its end is damaged, so that nothing can follow it.

    """
    (indexed,) = connection.execute("SELECT indexed FROM progress").fetchone()
    places.next_position = indexed + 1
    for topic_id, *place in find_unindexed(connection, indexed, damage):
        places.add(topic_id, [Place(*place)])


def find_unindexed(
    connection: sqlite3.Connection, indexed: int, damage: Damage
) -> Iterator[Unindexed]:
    """Yield the messages behind position ``indexed``, in their order.

    Raises:
        sqlite3.Error: the log cannot be read, or its end is damaged, so that nothing can follow it.

    """
    heads: dict[int, int] = {}
    for message in _readable(connection, indexed, damage):
        topic_id, sequence, position, _ = message
        if topic_id not in heads:
            heads[topic_id] = find_head(connection, topic_id)
        if sequence == heads[topic_id] + 1 or _is_whole(connection, message):
            heads[topic_id] = max(sequence, heads[topic_id])
            yield message
        else:
            damage.note(f"the message at position {position} of the log is damaged", 1)


def _is_whole(connection: sqlite3.Connection, message: Unindexed) -> bool:
    topic_id, sequence, position, _ = message
    row = connection.execute(_AT_POSITION, (position,)).fetchone()
    return row is not None and checked(topic_id, sequence, row) is not None


def _readable(connection: sqlite3.Connection, indexed: int, damage: Damage) -> Iterator[Unindexed]:
    """Yield the messages behind a position that are on pages that can be read."""
    position = indexed + 1
    while True:
        try:
            with contextlib.closing(connection.execute(_ROWS, (position, _ALL))) as rows:
                for row in rows:
                    yield (message := Unindexed(*row))
                    position = message.position + 1
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
        else:
            return
        # Python reads one row ahead, so the row before the damage has not come.
        message = next_readable(connection, position)
        if message.position > position:
            damage.note(
                "messages of the log that were not in its index yet cannot be read, at most those "
                f"at positions {position} to {message.position - 1}, of topics unknown",
                message.position - position,
            )
        yield message
        position = message.position + 1


def next_readable(connection: sqlite3.Connection, position: int) -> Unindexed:
    """Return the first message from a position on that is on a page which can be read.

    Behind ``ONE_BY_ONE`` positions that cannot be read, it may not be the first.

    Raises:
        sqlite3.Error: not even the last message can be read.

    """
    found = _next(connection, position)
    (last,) = connection.execute("SELECT max(position) FROM messages").fetchone()
    missing, step, tried = position, 1, 0
    while found is None:
        position = missing + step
        if position >= last:
            position = last
            found = Unindexed(*connection.execute(_ROWS, (position, 1)).fetchone())
        else:
            found = _next(connection, position)
        if found is None:
            missing, tried = position, tried + 1
            step = 1 if tried < ONE_BY_ONE else 2 * step
    while position - missing > 1:
        middle = (missing + position) // 2
        nearer = _next(connection, middle)
        if nearer is None:
            missing = middle
        else:
            position, found = middle, nearer
    return found


def _next(connection: sqlite3.Connection, position: int) -> Unindexed | None:
    """Return the message at a position or the next one, None if its page cannot be read."""
    # Not "behind" a position: the way to that leads by the page of the position itself.
    try:
        row = connection.execute(_ROWS, (position, 1)).fetchone()
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        return None
    return None if row is None else Unindexed(*row)
