"""Messages that tests put into the tables of a log by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.storage.checksum import checksum

if TYPE_CHECKING:
    import sqlite3


def store(
    connection: sqlite3.Connection,
    topic_id: int,
    sequence: int,
    accepted_at: int = 0,
    payload: bytes = b"0",
) -> None:
    """Insert a message and its place behind all others."""
    (position,) = connection.execute(
        "SELECT coalesce(max(position), 0) + 1 FROM messages"
    ).fetchone()
    check = checksum(topic_id, sequence, accepted_at, payload, None)
    connection.execute(
        "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, NULL)",
        (position, topic_id, sequence, accepted_at, check, payload),
    )
    connection.execute(
        "INSERT INTO places VALUES (?, ?, ?, ?)", (topic_id, sequence, position, len(payload))
    )
    connection.execute("UPDATE progress SET indexed = ?", (position,))
