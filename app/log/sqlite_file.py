"""The file under the SQLite log: its place, its lock, its schema, and what can be wrong with it."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import sqlite3
from typing import TYPE_CHECKING

from app.errors import DataDirectoryError, LogCorruptError

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger("riptide.log")

# "Rptd", so that `file` and we can tell our databases from others (SQLite file format, 1.3).
APPLICATION_ID = 0x52707464
# A row of more than a quarter of a page goes on in pages of its own (SQLite file format, 1.6): of
# 1.5 kB with pages of 4 kB, the default, it took 4.7 kB on disk, and takes 1.9 kB with these.
PAGE_BYTES = 16 * 1024
SCHEMA_VERSION = 2
SCHEMA = """
CREATE TABLE log (epoch TEXT NOT NULL);

-- head: the sequence number of the topic's newest message ever, kept or expired
CREATE TABLE topics (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, head INTEGER NOT NULL);

-- accepted_at: Unix time in nanoseconds, payload: one line of JSON,
-- traceparent: of the publish (W3C Trace Context), NULL if it was not traced
CREATE TABLE messages (
    topic_id INTEGER NOT NULL REFERENCES topics (id),
    sequence INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    payload BLOB NOT NULL,
    traceparent TEXT,
    PRIMARY KEY (topic_id, sequence)
) WITHOUT ROWID
"""
# What makes the schema of a version that of the next one; no message is touched.
MIGRATIONS = {1: "ALTER TABLE messages ADD COLUMN traceparent TEXT"}


class SqliteFile:
    """``riptide.db`` in a directory that one process at a time may use."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.path = directory / "riptide.db"
        self._lock: int | None = None

    def open(self) -> str:
        """Create what is missing, check what is there, and return the log's epoch.

        Raises:
            DataDirectoryError: the directory cannot be used.
            LogCorruptError: the file is damaged or not ours. It is not touched.

        """
        self._take_lock()
        try:
            return self._check()
        except sqlite3.OperationalError as error:
            self.close()
            raise DataDirectoryError(
                f"cannot use {self.path} ({error}): make it readable and writable for this user, "
                "free some disk space, or set RIPTIDE_DATA_DIR to another directory"
            ) from None
        except sqlite3.DatabaseError as error:
            self.close()
            raise self._corrupt(str(error)) from None
        except LogCorruptError:
            self.close()
            raise

    def connect(self) -> sqlite3.Connection:
        """Return a connection in autocommit mode that any one thread may use."""
        connection = sqlite3.connect(
            self.path, timeout=10, isolation_level=None, check_same_thread=False
        )
        # FULL makes every commit wait for the disk: what is acknowledged survives a power cut.
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def size_bytes(self) -> int:
        """Return the size of the database and of its write-ahead log."""
        total = 0
        for suffix in ("", "-wal"):
            try:
                total += os.stat(f"{self.path}{suffix}").st_size  # noqa: PTH116  # no Path object for a suffix
            except FileNotFoundError:
                continue
        return total

    def close(self) -> None:
        """Let another process have the directory."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self) -> None:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._directory / "riptide.lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise DataDirectoryError(
                f"cannot write to the data directory {self._directory} ({error.strerror}): "
                "set RIPTIDE_DATA_DIR to a directory that this user may write to, "
                "or RIPTIDE_LOG=memory to keep nothing"
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise DataDirectoryError(
                f"the data directory {self._directory} is in use by another Riptide process: "
                "stop that one, or set RIPTIDE_DATA_DIR to another directory"
            ) from None
        self._lock = lock

    def _check(self) -> str:
        connection = self.connect()
        try:
            if connection.execute("PRAGMA schema_version").fetchone()[0] == 0:
                return _create(connection)
            application_id = connection.execute("PRAGMA application_id").fetchone()[0]
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if application_id != APPLICATION_ID or version not in {*MIGRATIONS, SCHEMA_VERSION}:
                raise self._corrupt(
                    f"application id {application_id:#x} and schema version {version} "
                    f"where {APPLICATION_ID:#x} and {SCHEMA_VERSION} were expected"
                )
            fault = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if fault != "ok":
                raise self._corrupt(fault)
            _migrate(connection, version)
            epoch: str = connection.execute("SELECT epoch FROM log").fetchone()[0]
            return epoch
        finally:
            connection.close()

    def _corrupt(self, fault: str) -> LogCorruptError:
        return LogCorruptError(
            f"{self.path} is damaged or is not a log of this version of Riptide ({fault}). "
            "It was left as it is: restore it from a backup, or move it away together with its "
            "-wal and -shm files to start with an empty log"
        )


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring a log of an older version up to this one, in one transaction."""
    if version == SCHEMA_VERSION:
        return
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        for step in range(version, SCHEMA_VERSION):
            connection.execute(MIGRATIONS[step])
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    logger.info("the log was brought from schema version %d to %d", version, SCHEMA_VERSION)


def _create(connection: sqlite3.Connection) -> str:
    epoch = secrets.token_hex(4)
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode = WAL")
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        for statement in SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("INSERT INTO log VALUES (?)", (epoch,))
    return epoch
