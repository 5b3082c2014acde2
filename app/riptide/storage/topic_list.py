"""Lists the topics of the SQLite log. What is damaged of one topic hides no other."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from riptide.storage.damage import is_damage
from riptide.storage.message_log import Bounds, ListedTopic
from riptide.storage.topic_ends import find_bounds, find_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from riptide.storage.damage import Damage
    from riptide.storage.places import Place, Places

_EPOCH = (
    "(SELECT epoch FROM beginnings JOIN lives ON number = life "
    "WHERE topic_id = topics.id ORDER BY first DESC LIMIT 1)"
)
_EARLIEST = "(SELECT min(sequence) FROM places WHERE topic_id = topics.id)"


def find_topic(
    connection: sqlite3.Connection, places: Places, name: str, epoch: str
) -> ListedTopic:
    """Return a topic, with ``epoch`` if that of its newest message cannot be told.

    Raises:
        sqlite3.Error: the log cannot be read, for another reason than damage.

    """
    topic_id = find_id(connection, name)
    if topic_id is None:
        return ListedTopic(name, Bounds(earliest=1, head=0), epoch)
    bounds = find_bounds(connection, topic_id, places.of(topic_id))
    return ListedTopic(name, bounds, _epoch_of(connection, topic_id) or epoch)


def list_topics(
    connection: sqlite3.Connection, places: Places, damage: Damage, names: Sequence[str]
) -> list[ListedTopic]:
    """Return the topics of these names that have messages.

    One of which the life of the newest message cannot be told is left out.

    Raises:
        sqlite3.Error: not even names can be read.

    """
    wanted = f"FROM topics WHERE name IN ({', '.join('?' * len(names))})"
    ids = connection.execute(f"SELECT id {wanted}", names)
    newest = {topic_id: places.of(topic_id) for (topic_id,) in ids}
    try:
        rows = connection.execute(
            f"SELECT id, name, head, {_EARLIEST}, {_EPOCH} {wanted} ORDER BY name", names
        ).fetchall()
        found = [
            (name, _bounds(earliest, head, newest[topic_id]), epoch)
            for topic_id, name, head, earliest, epoch in rows
            if topic_id in newest
        ]
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        rows = connection.execute(f"SELECT id, name {wanted} ORDER BY name", names).fetchall()
        found = [
            (
                name,
                find_bounds(connection, topic_id, newest.get(topic_id, ())),
                _epoch_of(connection, topic_id),
            )
            for topic_id, name in rows
        ]
    listed = []
    for name, bounds, epoch in found:
        if bounds.is_empty():
            continue
        if epoch is None:
            damage.found_no_life(name)
        else:
            listed.append(ListedTopic(name, bounds, epoch))
    return listed


def _bounds(earliest: int | None, head: int, newest: Sequence[Place]) -> Bounds:
    """Return the bounds of a topic by the index and by what is not in it yet."""
    if newest:
        head = max(head, newest[-1].sequence)
        earliest = newest[0].sequence if earliest is None else earliest
    return Bounds(head + 1 if earliest is None else earliest, head)


def _epoch_of(connection: sqlite3.Connection, topic_id: int) -> str | None:
    try:
        (epoch,) = connection.execute(
            f"SELECT {_EPOCH} FROM topics WHERE id = ?",  # noqa: S608  # a query of our own
            (topic_id,),
        ).fetchone()
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        return None
    return None if epoch is None else str(epoch)
