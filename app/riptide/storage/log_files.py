"""The files that a log is written to, compared with those at their paths.

A file can be moved, replaced or deleted while it is open. All that is written to it then seems to
succeed, and is nowhere to be found after a restart.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from riptide.storage.file_lock import SERVED, lock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from riptide.storage.data_directory import DataDirectory

logger = logging.getLogger("riptide.log")


class _Held(NamedTuple):
    """A path, and a descriptor of what was there when the log was opened."""

    path: Path
    descriptor: int

    def change(self) -> str | None:
        """Return what has become of the file or directory; None if it is at its path."""
        try:
            there = os.stat(self.path)  # noqa: PTH116  # a third faster than Path.stat, on each commit
            held = os.fstat(self.descriptor)
        except OSError as error:
            return f"was moved or removed ({error.strerror})"
        if (there.st_dev, there.st_ino) != (held.st_dev, held.st_ino):
            return "was moved, and another is in its place"
        return None if held.st_nlink else "was removed"


class LogFiles:
    """Holds the files of an open log, and says whether they are still those at their paths.

    Only the log's writer looks; any thread may read ``displaced``.
    """

    def __init__(self) -> None:
        # Why nothing may be written, if that is so: a phrase without paths, which clients see.
        self.displaced: str | None = None
        # The directory first, the database last.
        self._held: list[_Held] = []
        self._own: list[int] = []

    def hold(self, directory: DataDirectory, beside: Sequence[Path]) -> None:
        """Take the files at their paths for those of the log, once SQLite has opened them all.

        ``beside`` are the files that SQLite has beside the database.

        Raises:
            OSError: a file is not there.

        """
        lock_file, database = directory.descriptors()
        held = []
        for path in (directory.path, *beside):
            self._own.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            held.append(_Held(path, self._own[-1]))
        self._held = [*held, _Held(directory.entry, database)]
        with contextlib.suppress(OSError):  # where there are no such locks, no backup looks at them
            for descriptor in (lock_file, database, *self._own[1:]):
                lock(descriptor, SERVED)

    def let_go(self) -> None:
        """Close the files, once SQLite has closed them."""
        for descriptor in self._own:
            os.close(descriptor)
        self._held, self._own, self.displaced = [], [], None

    def look(self, connection: sqlite3.Connection) -> str | None:
        """Return why nothing may be written, if a file is not at its path any more.

        Takes 11 µs. What became of the files is logged once.
        """
        for held in self._held:
            change = held.change()
            if change is not None:
                self._refuse(held, change, connection)
                return self.displaced
        if self.displaced is not None:
            self.displaced = None
            logger.warning("the files of the log are in their places again: messages are taken")
        return None

    def _refuse(self, held: _Held, change: str, connection: sqlite3.Connection) -> None:
        directory, *beside, database = self._held
        only_beside = not directory.change() and not database.change()
        # A write-ahead log that is at the path but another would be applied to what is moved to the
        # database. SQLite deletes it when the process ends in order.
        if only_beside and not any(file.change() and file.path.exists() for file in beside):
            _save(connection)
        if self.displaced is None:
            logger.error(
                "%s %s: messages are refused, because they would be lost. %s",
                held.path,
                change,
                "Restart the service by SIGTERM: it keeps all that it has acknowledged"
                if only_beside
                else "Put the files of the log back in their places: the service then goes on",
            )
        self.displaced = f"{'the data directory' if held is directory else held.path.name} {change}"


def _save(connection: sqlite3.Connection) -> None:
    """Move the content of the write-ahead log, which nobody would find, to the database.

    Waits for no reader: the next look goes on.
    """
    with contextlib.suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
