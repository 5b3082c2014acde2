"""Where the messages of a topic begin and end, as far as a damaged file can tell.

Two parts of the file know where a topic ends: the topic's own row, up to what is in the index, and
the index. Each is believed if it says more than the other, so that no number is given twice and no
message is passed over. A place in the index counts only if its message is there.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from riptide.storage.damage import is_damage
from riptide.storage.message_log import Bounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from riptide.storage.places import Place

_OWN_HEAD = "SELECT CAST(head AS INTEGER) FROM topics WHERE id = ?"
_NEWEST_INDEXED = (
    "SELECT CAST(places.sequence AS INTEGER) FROM places JOIN messages USING (position) "
    "WHERE places.topic_id = ? AND messages.topic_id = places.topic_id "
    "AND messages.sequence = places.sequence ORDER BY places.sequence DESC LIMIT 1"
)
_OLDEST_INDEXED = "SELECT CAST(min(sequence) AS INTEGER) FROM places WHERE topic_id = ?"
# Lives of which every message has expired are forgotten.
_OLDEST_LIFE = "SELECT CAST(min(first) AS INTEGER) FROM beginnings WHERE topic_id = ?"


def find_id(connection: sqlite3.Connection, topic: str) -> int | None:
    """Return the number of a topic in the log; None if it has none."""
    row = connection.execute("SELECT id FROM topics WHERE name = ?", (topic,)).fetchone()
    return None if row is None else int(row[0])


def find_bounds(
    connection: sqlite3.Connection, topic_id: int, newest: Sequence[Place] = ()
) -> Bounds:
    """Return which messages a topic has, by the file and by places that it does not have yet.

    If the oldest one cannot be told, the number is certainly not too high.

    Raises:
        sqlite3.Error: the log cannot be read, for another reason than damage.

    """
    head = find_head(connection, topic_id, newest)
    try:
        earliest = _number(connection, _OLDEST_INDEXED, topic_id)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        earliest = _number(connection, _OLDEST_LIFE, topic_id)
    if earliest is None:
        earliest = newest[0].sequence if newest else head + 1
    return Bounds(min(max(1, earliest), head + 1), head)


def find_head(connection: sqlite3.Connection, topic_id: int, newest: Sequence[Place] = ()) -> int:
    """Return the sequence number of a topic's newest message, kept or expired; 0 if it had none.

    Raises:
        sqlite3.Error: the log cannot be read, for another reason than damage.

    """
    head = _number(connection, _OWN_HEAD, topic_id) or 0
    try:
        indexed = _number(connection, _NEWEST_INDEXED, topic_id) or 0
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        indexed = 0
    return max(head, indexed, newest[-1].sequence if newest else 0)


def _number(connection: sqlite3.Connection, query: str, topic_id: int) -> int | None:
    row = connection.execute(query, (topic_id,)).fetchone()
    return None if row is None else row[0]
