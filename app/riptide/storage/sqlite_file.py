"""The file of the SQLite log: its path, how it is checked and opened."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

from riptide.errors import DataDirectoryError, LogCorruptError
from riptide.storage.data_directory import DataDirectory
from riptide.storage.schema import begin_life, create, find_fault, migrate

if TYPE_CHECKING:
    from pathlib import Path


class SqliteFile:
    """``riptide.db`` in a directory that one process at a time may use."""

    def __init__(self, directory: Path) -> None:
        self._directory = DataDirectory(directory)
        self.path = self._directory.database
        # The numbers of the lives that the log remembers, by epoch; this life is the last.
        self.lives: dict[str, int] = {}

    def open(self) -> str:
        """Create what is missing, check what is there, and return the epoch of the new life.

        Raises:
            DataDirectoryError: the directory cannot be used.
            LogCorruptError: the file is damaged or is no log; it is not changed.

        """
        self._directory.take()
        try:
            self._directory.create_database()
            self._directory.close_to_others()
            self.lives = self._check()
        except (sqlite3.OperationalError, OSError) as error:
            self.close()
            raise DataDirectoryError(
                f"cannot use {self.path} ({error}): make it readable and writable for this user, "
                "free some disk space, or set RIPTIDE_DATA_DIR to another directory"
            ) from None
        except sqlite3.DatabaseError as error:
            self.close()
            raise self._corrupt(str(error)) from None
        except UnicodeDecodeError:
            # SQLite's message about a damaged schema repeats the bytes that it found there.
            self.close()
            raise self._corrupt("its schema is not UTF-8") from None
        except LogCorruptError:
            self.close()
            raise
        return list(self.lives)[-1]

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
        """Unlock the directory."""
        self._directory.let_go()

    def _check(self) -> dict[str, int]:
        connection = self.connect()
        try:
            if connection.execute("PRAGMA schema_version").fetchone()[0] == 0:
                create(connection)
            else:
                fault = find_fault(connection)
                if fault is not None:
                    raise self._corrupt(fault)
                # A backup that was copied here by hand is in another mode.
                connection.execute("PRAGMA journal_mode = WAL")
                migrate(connection)
            return begin_life(connection)
        finally:
            connection.close()

    def _corrupt(self, fault: str) -> LogCorruptError:
        return LogCorruptError(
            f"{self.path} is damaged or is not a log of this version of Riptide ({fault}). "
            "It was left as it is: restore it from a backup, or move it away together with its "
            "-wal and -shm files to start with an empty log"
        )
