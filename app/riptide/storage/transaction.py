"""Transactions of the SQLite log's writer, and what is known when one fails."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from riptide.storage.disk_room import is_full, is_in_use, primary_code
from riptide.storage.schema import touch

if TYPE_CHECKING:
    from collections.abc import Iterator

# Commits that failed in these ways have surely left nothing behind: what ends a transaction is the
# last that is written, so a failed write means that it was not, and a lock that nothing was.
_NOTHING_WRITTEN = frozenset(
    {sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMMAP}
)
_NOTHING_COMMITTED = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


class OutcomeUnknownError(Exception):
    """A commit has failed, and after a crash its messages may be there or not."""


def may_be_of_one_topic(error: Exception) -> bool:
    """Return whether work on other topics may succeed though that on some has failed so."""
    return isinstance(error, sqlite3.DatabaseError) and not is_full(error) and not is_in_use(error)


@contextlib.contextmanager
def synced(connection: sqlite3.Connection) -> Iterator[None]:
    """Make a transaction that is on the disk once it is committed.

    Raises:
        OutcomeUnknownError: the commit failed, and may be there after a crash.
        sqlite3.Error: nothing was committed.

    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        _roll_back(connection)
        raise
    _commit(connection)


@contextlib.contextmanager
def unsynced(connection: sqlite3.Connection) -> Iterator[None]:
    """Make a transaction that does not wait for the disk; the next synced one brings it there."""
    connection.execute("PRAGMA synchronous = NORMAL")
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            _roll_back(connection)
            raise
    finally:
        connection.execute("PRAGMA synchronous = FULL")


def _commit(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        _roll_back(connection)
        if primary_code(error) in _NOTHING_COMMITTED or error.sqlite_errorcode in _NOTHING_WRITTEN:
            raise
        _undo_for_good(connection, error)
        raise


def _undo_for_good(connection: sqlite3.Connection, failure: sqlite3.Error) -> None:
    """See that nothing of a commit of unknown outcome comes back after a crash.

    Another commit takes its place in the write-ahead log. SQLite checks the frames there as a chain
    (SQLite file format, 4.2), so those behind it are not valid any more.

    Raises:
        OutcomeUnknownError: that failed too.

    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        touch(connection)
        connection.execute("COMMIT")
    except sqlite3.Error:
        _roll_back(connection)
        raise OutcomeUnknownError(str(failure)) from failure


def _roll_back(connection: sqlite3.Connection) -> None:
    """Undo the transaction, unless SQLite has done so because of the error."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")
