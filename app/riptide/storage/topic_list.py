"""Lists the topics of the SQLite log. What is damaged of one topic hides no other."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from riptide.storage.damage import is_damage
from riptide.storage.message_log import Bounds, ListedTopic
from riptide.storage.topic_ends import find_bounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from riptide.storage.damage import Damage
    from riptide.storage.places import Place, Places

_EPOCH = (
    "(SELECT epoch FROM beginnings JOIN lives ON number = life "
    "WHERE topic_id = topics.id ORDER BY first DESC LIMIT 1)"
)
_EARLIEST = "(SELECT min(sequence) FROM places WHERE topic_id = topics.id)"
_SOME = "FROM topics WHERE name > ? ORDER BY name LIMIT ?"
# That of a topic which is not shown.
_NO_MESSAGES = Bounds(1, 0)


def list_topics(
    connection: sqlite3.Connection, places: Places, damage: Damage, after: str, limit: int
) -> list[ListedTopic]:
    """Return the topics whose names come after ``after``, at most ``limit``.

    A topic of which the life of the newest message cannot be told has no messages here.

    Raises:
        sqlite3.Error: not even names can be read.

    """
    newest = places.all()  # before the file, see Places
    try:
        rows = connection.execute(
            f"SELECT id, name, head, {_EARLIEST}, {_EPOCH} {_SOME}",  # queries of our own
            (after, limit),
        ).fetchall()
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
    else:
        return [
            _listed(name, _bounds(earliest, head, newest.get(topic_id, ())), epoch, damage)
            for topic_id, name, head, earliest, epoch in rows
        ]
    return [
        _listed(
            name,
            find_bounds(connection, topic_id, newest.get(topic_id, ())),
            _epoch_of(connection, topic_id),
            damage,
        )
        for topic_id, name in connection.execute(f"SELECT id, name {_SOME}", (after, limit))
    ]


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


def _listed(name: str, bounds: Bounds, epoch: str | None, damage: Damage) -> ListedTopic:
    if epoch is None:
        damage.found_no_life(name)
        return ListedTopic(name, _NO_MESSAGES, "")
    return ListedTopic(name, bounds, epoch)
