"""Copies a log of an older version into a new file, whose messages lie in the order of commits.

The old file is only read until the new one is complete and on the disk, and then replaced. A copy
that was interrupted, by a crash or for want of room, goes on where it was.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from riptide.errors import DataDirectoryError
from riptide.storage.checksum import checksum
from riptide.storage.data_directory import sync
from riptide.storage.schema import APPLICATION_ID, SCHEMA_VERSION, create_tables, lay_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from riptide.storage.data_directory import DataDirectory

logger = logging.getLogger("riptide.log")

# Messages of one transaction, each of which may have a megabyte.
CHUNK_MESSAGES = 1_000
PROGRESS_MESSAGES = 100_000
# What SQLite puts beside the copy, at most: a write-ahead log, and the index of it.
WAL_BYTES = 16 * 1024 * 1024
INDEX_BYTES = 128 * 1024
# No message has this checksum.
DAMAGED = -1


def upgrade(directory: DataDirectory) -> None:
    """Bring the directory's log, which is of the last older version, up to this one.

    Raises:
        DataDirectoryError: the disk has no room for the copy.
        sqlite3.Error, OSError: the old file cannot be read, or the new one not be written.

    """
    old_path, new_path = directory.database, _copy_of(directory)
    _require_room(directory)
    logger.info("the log is being brought to schema version %d; this takes a while", SCHEMA_VERSION)
    directory.create(new_path)
    with (
        contextlib.closing(sqlite3.connect(old_path, isolation_level=None)) as old,
        contextlib.closing(sqlite3.connect(new_path, isolation_level=None)) as new,
    ):
        lay_out(new)
        _begin(old, new)
        count = _copy_messages(old, new)
        with new:
            new.execute("BEGIN IMMEDIATE")
            new.execute("DROP TABLE copied")
            new.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            new.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        # Nothing of either may be left beside it: SQLite would take the one for that of the other.
        for connection in (new, old):
            _empty_wal(connection)
    sync(new_path)
    directory.replace_database(new_path)
    logger.info("the log was brought to schema version %d: %d messages", SCHEMA_VERSION, count)


def _copy_of(directory: DataDirectory) -> Path:
    return directory.database.with_name(f"{directory.database.name}.upgrade")


def _empty_wal(connection: sqlite3.Connection) -> None:
    (is_busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if is_busy:
        raise sqlite3.OperationalError("another program is reading the log")


def _require_room(directory: DataDirectory) -> None:
    """Check that the disk has room for the copy, of which a part may be there already."""
    status = os.statvfs(directory.database.parent)
    free = status.f_bavail * status.f_frsize
    there = sum(_size(Path(f"{_copy_of(directory)}{suffix}")) for suffix in ("", "-wal"))
    size = directory.database.stat().st_size
    needed = size + min(size, WAL_BYTES) + INDEX_BYTES - there
    if free < needed:
        raise DataDirectoryError(
            f"the log {directory.database} is of an older version, and the disk has no room for "
            f"the copy of this version ({free} bytes are free, {needed} are needed): free some "
            "disk space, or move the directory to a larger disk; the log was left as it is"
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _begin(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Copy all tables but the messages, unless an earlier attempt at the very same log has."""
    # Each opening of a log begins a life, so a log that was used since is told apart.
    (life,) = old.execute("SELECT coalesce(max(number), 0) FROM lives").fetchone()
    with contextlib.suppress(sqlite3.OperationalError):
        if new.execute("SELECT life FROM copied").fetchone() == (life,):
            return
    with new:
        new.execute("BEGIN IMMEDIATE")
        tables = new.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        for (table,) in tables:
            new.execute(f"DROP TABLE {table}")
        create_tables(new)
        new.execute("CREATE TABLE copied (life INTEGER)")
        new.execute("INSERT INTO copied VALUES (?)", (life,))
        for table, columns in (("topics", 3), ("lives", 2), ("beginnings", 3), ("forgettings", 2)):
            marks = ", ".join("?" * columns)
            new.executemany(
                f"INSERT INTO {table} VALUES ({marks})",  # noqa: S608  # names of our own
                old.execute(f"SELECT * FROM {table}"),  # noqa: S608  # as above
            )


def _copy_messages(old: sqlite3.Connection, new: sqlite3.Connection) -> int:
    """Copy the messages that are not copied yet; return the number of all."""
    (position,) = new.execute("SELECT coalesce(max(position), 0) FROM messages").fetchone()
    topic_id, sequence = new.execute(
        "SELECT topic_id, sequence FROM messages WHERE position = ?", (position,)
    ).fetchone() or (0, 0)
    rows = old.execute(
        "SELECT topic_id, sequence, accepted_at, payload, traceparent FROM messages "
        "WHERE (topic_id, sequence) > (?, ?) ORDER BY topic_id, sequence",
        (topic_id, sequence),
    )
    while chunk := rows.fetchmany(CHUNK_MESSAGES):
        _insert(new, position, chunk)
        before, position = position, position + len(chunk)
        if position // PROGRESS_MESSAGES > before // PROGRESS_MESSAGES:
            logger.info("%d messages have been copied", position)
    return int(position)


def _check_of(
    topic_id: int, sequence: int, accepted_at: int, payload: bytes, traceparent: str | None
) -> int:
    """Return the checksum of a message, or one that fails if it is no line of JSON any more."""
    try:
        is_whole = b"\n" not in payload and b"\r" not in payload
        orjson.loads(payload)
    except orjson.JSONDecodeError:
        is_whole = False
    return checksum(topic_id, sequence, accepted_at, payload, traceparent) if is_whole else DAMAGED


def _insert(
    new: sqlite3.Connection, position: int, chunk: Sequence[tuple[int, int, int, bytes, str | None]]
) -> None:
    with new:
        new.execute("BEGIN IMMEDIATE")
        new.executemany(
            "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (number, topic_id, sequence, accepted_at, check, payload, traceparent)
                for number, (topic_id, sequence, accepted_at, payload, traceparent) in enumerate(
                    chunk, position + 1
                )
                for check in (_check_of(topic_id, sequence, accepted_at, payload, traceparent),)
            ),
        )
        new.executemany(
            "INSERT INTO places VALUES (?, ?, ?, ?)",
            (
                (topic_id, sequence, number, len(payload))
                for number, (topic_id, sequence, _, payload, _) in enumerate(chunk, position + 1)
            ),
        )
        new.execute("UPDATE progress SET indexed = ?", (position + len(chunk),))
