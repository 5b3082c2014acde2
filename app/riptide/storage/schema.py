"""The tables of the SQLite log: their schema, its migrations, and the check of a file.

The log begins a new life each time it is opened, and a message keeps the epoch of the life in which
it was published. A log may lose its end, when a backup is restored, a snapshot is rolled back, or a
disk has lied about a sync. Then the sequence numbers of the lost messages are given again, but in
another life: so the ids of lost messages are never mistaken for those of new ones.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

# "Rptd", which tells a log from other SQLite databases (SQLite file format, 1.3).
APPLICATION_ID = 0x52707464
# A message of 1 kB takes 1.04 kB with these pages, and its commit writes one of them; larger pages
# would have each commit of a small message write more.
PAGE_BYTES = 4 * 1024
# Lives without messages are remembered if they are among so many of the newest, for consumers that
# connected in one of them and received nothing.
LIVES_KEPT = 1000
SCHEMA_VERSION = 5
# The tables that say whose messages are whose. They are small beside that of the messages.
SMALL_TABLES = ("topics", "lives", "beginnings", "forgettings", "progress")
LIVES = """
-- a row each time the log was opened, numbered in that order
CREATE TABLE lives (number INTEGER PRIMARY KEY, epoch TEXT NOT NULL);

-- messages of the topic were published in this life from this sequence number on
CREATE TABLE beginnings (
    topic_id INTEGER NOT NULL REFERENCES topics (id),
    first INTEGER NOT NULL,
    life INTEGER NOT NULL REFERENCES lives (number),
    PRIMARY KEY (topic_id, first)
) WITHOUT ROWID
"""
FORGETTINGS = """
-- topics were forgotten at the beginning of this life, and those with a higher id came later
CREATE TABLE forgettings (life INTEGER PRIMARY KEY, newest_topic_id INTEGER NOT NULL)
"""
SCHEMA = f"""
-- head: the sequence number of the topic's newest message, kept or expired, up to the position in
-- the table progress
CREATE TABLE topics (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, head INTEGER NOT NULL);

-- in the order of commits, accepted_at: Unix time in nanoseconds, checksum: see checksum.py,
-- payload: one line of JSON, traceparent: of the publish (W3C Trace Context), NULL if not traced
CREATE TABLE messages (
    position INTEGER PRIMARY KEY,
    topic_id INTEGER NOT NULL REFERENCES topics (id),
    sequence INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    payload BLOB NOT NULL,
    traceparent TEXT
);

-- where the messages of each topic are, size: bytes of the payload
CREATE TABLE places (
    topic_id INTEGER NOT NULL REFERENCES topics (id),
    sequence INTEGER NOT NULL,
    position INTEGER NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (topic_id, sequence)
) WITHOUT ROWID;

-- one row: messages up to this position are in the table places
CREATE TABLE progress (indexed INTEGER NOT NULL);
{LIVES};
{FORGETTINGS}"""
# The last version whose messages lay in the order of topics; see upgrade.py.
LAST_BY_TOPIC = 4
# The statements that turn the schema of an older version into that of the next, up to that one; no
# message is changed.
MIGRATIONS = {
    1: ("ALTER TABLE messages ADD COLUMN traceparent TEXT",),
    # Version 2 had one epoch for all messages.
    2: (
        *LIVES.split(";"),
        "INSERT INTO lives SELECT 1, epoch FROM log",
        "INSERT INTO beginnings SELECT id, 1, 1 FROM topics",
        "DROP TABLE log",
    ),
    3: (FORGETTINGS,),
}


def find_fault(connection: sqlite3.Connection) -> str | None:
    """Return why a file is no whole log that this version can use, or None if it is one.

    Reads the whole file.
    """
    foreignness = find_foreignness(connection)
    if foreignness is not None:
        return foreignness
    fault: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    return None if fault == "ok" else fault


def find_obstacle(connection: sqlite3.Connection, database: Path) -> str | None:
    """Return why a log cannot be served, or None if it can be.

    Messages that are damaged are none: they are left out when they are read. So of the messages,
    only the way to their end is looked at, where the next ones are written, and the time that this
    takes does not grow with their number. A log of an older version has to be whole.

    Raises:
        sqlite3.DatabaseError: what was read is damaged.

    """
    fault = find_foreignness(connection)
    if fault is not None:
        return fault
    if connection.execute("PRAGMA user_version").fetchone()[0] <= LAST_BY_TOPIC:
        return find_fault(connection)
    for table in SMALL_TABLES:
        (finding,) = connection.execute(f"PRAGMA integrity_check({table})").fetchone()
        if finding != "ok":
            return f"table {table}: {finding}"
    connection.execute("SELECT max(position) FROM messages").fetchone()
    return _find_missing_pages(connection, database)


def _find_missing_pages(connection: sqlite3.Connection, database: Path) -> str | None:
    """Return that the file is too short, whatever pages its write-ahead log may still have."""
    pages, page_bytes = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
    )
    there = _size(database) // page_bytes
    if pages - there <= _size(Path(f"{database}-wal")) // page_bytes:
        return None
    return f"{there} pages where {pages} were expected"


def _size(file: Path) -> int:
    # Only its status: to open and close the file would give up SQLite's locks on it.
    return file.stat().st_size if file.exists() else 0


def find_foreignness(connection: sqlite3.Connection) -> str | None:
    """Return why a file is no log of this version or an older one; None if it says it is one."""
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application_id != APPLICATION_ID:
        return f"application id {application_id:#x} where {APPLICATION_ID:#x} was expected"
    if version > SCHEMA_VERSION:
        return (
            f"a newer version of Riptide wrote it: schema version {version}, where this one knows "
            f"those up to {SCHEMA_VERSION}"
        )
    if not 1 <= version <= SCHEMA_VERSION:
        return f"schema version {version} where {SCHEMA_VERSION} was expected"
    return None


def create(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty file."""
    lay_out(connection)
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        create_tables(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def lay_out(connection: sqlite3.Connection) -> None:
    """Say how a file without tables is to be laid out."""
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    # Only a database that begins like this can give free pages back without being locked for long.
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")


def create_tables(connection: sqlite3.Connection) -> None:
    """Make the tables, without the marks of a log that is complete."""
    for statement in SCHEMA.split(";"):
        connection.execute(statement)
    connection.execute("INSERT INTO progress VALUES (0)")


def migrate(connection: sqlite3.Connection) -> bool:
    """Bring a log of an older version up to the last whose messages lie in the order of topics.

    Return whether it is of that version, and so has to be copied into a file of this version.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > LAST_BY_TOPIC:
        return False
    if version < LAST_BY_TOPIC:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            for step in range(version, LAST_BY_TOPIC):
                for statement in MIGRATIONS[step]:
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {LAST_BY_TOPIC}")
    return True


def touch(connection: sqlite3.Connection) -> None:
    """Write a page of the file as it is, so that the transaction has something to commit."""
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def begin_life(connection: sqlite3.Connection) -> dict[str, int]:
    """Begin a life of the log; return the numbers of all known lives by epoch, the new one last.

    Forgets lives without messages that are not among the newest ``LIVES_KEPT``.
    """
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO lives (epoch) VALUES (?)", (secrets.token_hex(4),))
        connection.execute(
            "DELETE FROM lives WHERE number <= (SELECT max(number) FROM lives) - ? "
            "AND number NOT IN (SELECT life FROM beginnings)",
            (LIVES_KEPT,),
        )
        return dict(connection.execute("SELECT epoch, number FROM lives ORDER BY number"))


def next_life(connection: sqlite3.Connection) -> dict[str, int]:
    """Return what ``begin_life`` would, and write nothing: there is no room on the disk."""
    lives = dict(connection.execute("SELECT epoch, number FROM lives ORDER BY number"))
    return lives | {secrets.token_hex(4): max(lives.values(), default=0) + 1}
