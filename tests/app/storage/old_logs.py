"""Logs as older versions left them."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

from riptide.storage.schema import APPLICATION_ID
from riptide.storage.sqlite_file import SqliteFile

if TYPE_CHECKING:
    from pathlib import Path

# As the versions before this one made them.
OLD_SCHEMAS = {
    1: """
CREATE TABLE log (epoch TEXT NOT NULL);
CREATE TABLE topics (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, head INTEGER NOT NULL);
CREATE TABLE messages (
    topic_id INTEGER NOT NULL REFERENCES topics (id),
    sequence INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (topic_id, sequence)
) WITHOUT ROWID
""",
    2: """
CREATE TABLE log (epoch TEXT NOT NULL);
CREATE TABLE topics (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, head INTEGER NOT NULL);
CREATE TABLE messages (
    topic_id INTEGER NOT NULL REFERENCES topics (id),
    sequence INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    payload BLOB NOT NULL,
    traceparent TEXT,
    PRIMARY KEY (topic_id, sequence)
) WITHOUT ROWID
""",
}
OLD_SCHEMAS[3] = OLD_SCHEMAS[2].replace(
    "CREATE TABLE log (epoch TEXT NOT NULL);",
    """
CREATE TABLE lives (number INTEGER PRIMARY KEY, epoch TEXT NOT NULL);
CREATE TABLE beginnings (
    topic_id INTEGER NOT NULL REFERENCES topics (id),
    first INTEGER NOT NULL,
    life INTEGER NOT NULL REFERENCES lives (number),
    PRIMARY KEY (topic_id, first)
) WITHOUT ROWID;
""",
)
SCHEMA_4 = (
    OLD_SCHEMAS[3]
    + """;
CREATE TABLE forgettings (life INTEGER PRIMARY KEY, newest_topic_id INTEGER NOT NULL)
"""
)
OLD_SCHEMAS[4] = SCHEMA_4
OLD_EPOCH = "0a1b2c3d"
FAR_FUTURE_NS = 10**19 // 2


def make_old(directory: Path, version: int) -> SqliteFile:
    """Make a log with three messages as an older version had it."""
    file = SqliteFile(directory)
    directory.mkdir(exist_ok=True)
    connection = sqlite3.connect(file.path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(OLD_SCHEMAS[version])
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {version}")
    if version < 3:
        connection.execute("INSERT INTO log VALUES (?)", (OLD_EPOCH,))
    else:
        connection.execute("INSERT INTO lives VALUES (1, ?)", (OLD_EPOCH,))
        connection.execute("INSERT INTO beginnings VALUES (1, 1, 1)")
    connection.execute("INSERT INTO topics VALUES (1, 'a', 3)")
    connection.executemany(
        "INSERT INTO messages (topic_id, sequence, accepted_at, payload) VALUES (1, ?, ?, ?)",
        [(n, FAR_FUTURE_NS, b"%d" % n) for n in range(1, 4)],
    )
    connection.close()
    return file


def large_payload(topic: int, sequence: int) -> bytes:
    """Return a message of :func:`make_large`."""
    return b'[%d,%d,"%s"]' % (topic, sequence, b"x" * (sequence % 300))


def make_large(directory: Path, topic_count: int, messages_each: int) -> None:
    """Make a log of version 4 with messages of three lives in topics 1, 2, 3, ...

    They were published just now, to one topic after the other, and in each life a third of them.
    Besides them there is a topic "expired", whose 500 messages are deleted.
    """
    directory.mkdir(exist_ok=True)
    connection = sqlite3.connect(directory / "riptide.db", isolation_level=None)
    connection.execute("PRAGMA page_size = 16384")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(SCHEMA_4)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 4")
    connection.execute("BEGIN")
    topics = range(1, topic_count + 1)
    lives = [(life, f"{life:08x}") for life in (1, 2, 3)]
    connection.executemany("INSERT INTO lives VALUES (?, ?)", lives)
    connection.executemany(
        "INSERT INTO topics VALUES (?, ?, ?)",
        [
            *((topic, str(topic), messages_each) for topic in topics),
            (topic_count + 1, "expired", 500),
        ],
    )
    connection.executemany(
        "INSERT INTO beginnings VALUES (?, ?, ?)",
        [
            *(
                (topic, 1 + (life - 1) * messages_each // 3, life)
                for topic in topics
                for life, _ in lives
            ),
            (topic_count + 1, 1, 1),
        ],
    )
    now = time.time_ns()
    connection.executemany(
        "INSERT INTO messages VALUES (?, ?, ?, ?, NULL)",
        (
            (topic, sequence, now + sequence, large_payload(topic, sequence))
            for topic in topics
            for sequence in range(1, messages_each + 1)
        ),
    )
    connection.execute("COMMIT")
    connection.close()
