"""The file of the SQLite log: its path, how it is checked and opened."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from typing import TYPE_CHECKING

from riptide.errors import DataDirectoryError, LogCorruptError
from riptide.storage.damage import Damage, is_damage
from riptide.storage.data_directory import DataDirectory
from riptide.storage.disk_room import (
    RESERVE_BYTES,
    DiskRoom,
    is_full,
    is_in_use,
    primary_code,
)
from riptide.storage.forgotten_topics import forget_topics
from riptide.storage.log_files import LogFiles
from riptide.storage.partial_files import delete_leftovers
from riptide.storage.places import Places
from riptide.storage.schema import (
    PAGE_BYTES,
    begin_life,
    create,
    find_obstacle,
    migrate,
    next_life,
)
from riptide.storage.unindexed_messages import load_places
from riptide.storage.upgrade import upgrade
from riptide.storage.wal_remains import report_remains

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = logging.getLogger("riptide.log")

# How SQLite's connections of one process share the index of the write-ahead log: in a file, which
# other processes (a backup) share as well, or in memory, which takes no room on the disk.
_INDEX_IN_FILE, _INDEX_IN_MEMORY = "unix", "unix-excl"
# How long another program may lock the file: at the start, and before publishers are refused. A
# publish may wait for the one before it, so it waits up to twice as long.
START_PATIENCE_S = 10.0
PATIENCE_S = 0.4
# This part of the most that the write-ahead log may have is moved at once.
PART_TO_MOVE = 4


class SqliteFile:
    """``riptide.db`` in a directory that one process at a time may use."""

    def __init__(self, directory: Path, topics_kept: int = 10_000) -> None:
        """``topics_kept`` topics are remembered though they have no messages."""
        self._topics_kept = topics_kept
        self._directory = DataDirectory(directory)
        self._vfs = _INDEX_IN_FILE
        self.path = self._directory.database
        self.room = DiskRoom(self._directory)
        self.files = LogFiles()
        # The numbers of the lives that the log remembers, by epoch; this life is the last.
        self.lives: dict[str, int] = {}
        # What was found to be damaged since the log was opened.
        self.damage = Damage(self._directory.read_a_little)
        # False if the disk had no room for this life; the first append writes it then.
        self.life_is_kept = True
        # SQLite refuses a checkpoint while another one is under way.
        self._one_checkpoint = threading.Lock()

    def open(self) -> str:
        """Create what is missing, check what is there, and return the epoch of the new life.

        A log on a full disk opens too, unless it is new or has to be migrated.

        Raises:
            DataDirectoryError: the directory cannot be used.
            LogCorruptError: the file is no log, or is damaged beyond messages that can be left
                out; it is not changed.

        """
        self._directory.take()
        delete_leftovers(self.path.parent)
        with self.explained():
            if self._directory.lost_its_database():
                raise LogCorruptError(
                    f"{self.path} is missing or empty, and the file {self.path.name}-wal beside it "
                    "has messages: put the database that belongs to it back, restore a backup, or "
                    "move the -wal file away to start with an empty log"
                )
            self._directory.create_database()
            self._directory.close_to_others()
            self.lives = self._check_on_any_disk()
        return self.epoch

    @property
    def epoch(self) -> str:
        """The epoch of this life; the log has to be open."""
        return list(self.lives)[-1]

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Turn errors of the system and of SQLite into errors that say what to do.

        The directory is unlocked then.
        """
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            self.close()
            if isinstance(error, sqlite3.Error) and primary_code(error) == sqlite3.SQLITE_ERROR:
                # The statement does not suit the file: a table or a column is missing.
                raise self._corrupt(str(error)) from None
            raise DataDirectoryError(
                f"cannot use {self.path} ({error}): {_what_to_do(error)}"
            ) from None
        except sqlite3.DatabaseError as error:
            self.close()
            raise self._corrupt(str(error)) from None
        except UnicodeDecodeError:
            # SQLite's message about a damaged schema repeats the bytes that it found there.
            self.close()
            raise self._corrupt("its schema is not UTF-8") from None
        except (LogCorruptError, DataDirectoryError):
            self.close()
            raise

    def connect(self, patience_s: float = PATIENCE_S) -> sqlite3.Connection:
        """Return a connection in autocommit mode that any one thread may use.

        It waits for ``patience_s`` while another program has locked the file.
        """
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?vfs={self._vfs}",
            uri=True,
            timeout=patience_s,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def hold(self) -> None:
        """Watch the files from now on; SQLite has to have opened them all.

        Raises:
            OSError: a file is not there any more.

        """
        wal, index = self._directory.beside_database()
        self.files.hold(self._directory, [wal, index] if self._vfs == _INDEX_IN_FILE else [wal])

    def make_room(self, connection: sqlite3.Connection) -> bool:
        """Move the write-ahead log to the database, and give its room back to the disk.

        Returns whether there is more room now. There is none while a reader, such as a backup,
        needs the write-ahead log.

        Raises:
            sqlite3.Error: there is not even room for that.

        """
        before = self.room.wal_bytes()
        # SQLite could wait for the reader, and appends would wait with it.
        self.checkpoint(connection, "TRUNCATE")
        return self.room.wal_bytes() < before

    def checkpoint(self, connection: sqlite3.Connection, mode: str, patience_ms: int = 0) -> bool:
        """Move the write-ahead log to the database; return whether all of it was moved.

        ``patience_ms`` is how long the modes of SQLite that wait for readers do so.

        Raises:
            sqlite3.Error: it cannot be moved.

        """
        (before_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
        connection.execute(f"PRAGMA busy_timeout = {patience_ms}")
        try:
            with self._one_checkpoint:
                is_busy, frames, moved = connection.execute(
                    f"PRAGMA wal_checkpoint({mode})"
                ).fetchone()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {before_ms}")
        return not is_busy and bool(frames == moved)

    def wal_limits(self) -> tuple[int, int]:
        """Return the sizes of the write-ahead log to move it from, and to let appends wait at.

        What has to be moved to the database has to fit into the reserve.
        """
        most = self.room.reserve_bytes() or RESERVE_BYTES
        return most // PART_TO_MOVE, most

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
        """Unlock the directory, once all connections are closed."""
        self.files.let_go()
        self._directory.let_go()

    def _check_on_any_disk(self) -> dict[str, int]:
        """Check the file; on a full disk in the room of the reserve, and if need be in none."""
        self._vfs = _INDEX_IN_FILE
        try:
            return self._check()
        except sqlite3.OperationalError as error:
            if not is_full(error):
                raise
        if self.room.give_up_reserve():
            with contextlib.suppress(sqlite3.OperationalError):
                return self._check()
        self._vfs = _INDEX_IN_MEMORY
        return self._check()

    def _check(self) -> dict[str, int]:
        with contextlib.closing(self._connect_to_start()) as connection:
            is_older = self._check_or_create(connection)
        if is_older:
            upgrade(self._directory)
            self._directory.lock_new_database()
        with contextlib.closing(self._connect_to_start()) as connection:
            lives = self._begin_life(connection)
            if self.life_is_kept:
                # A full disk may have no room for that, and the next life does it.
                with contextlib.suppress(sqlite3.OperationalError):
                    self._tidy_up(connection, max(lives.values()))
            return lives

    def _connect_to_start(self) -> sqlite3.Connection:
        """Return a connection for the time in which nobody else moves the write-ahead log."""
        connection = self.connect(START_PATIENCE_S)
        pages = max(1, self.wal_limits()[0] // PAGE_BYTES)
        connection.execute(f"PRAGMA wal_autocheckpoint = {pages}")
        return connection

    def _check_or_create(self, connection: sqlite3.Connection) -> bool:
        """Check the file, or create its tables; return whether it is of an older version."""
        if connection.execute("PRAGMA schema_version").fetchone()[0] == 0:
            create(connection)
            return False
        obstacle = find_obstacle(connection, self.path)
        if obstacle is not None:
            raise self._corrupt(obstacle)
        self.damage.lost_frames = report_remains(connection, self.path)
        # A backup that was copied here by hand is in another mode.
        connection.execute("PRAGMA journal_mode = WAL")
        return migrate(connection)

    def _tidy_up(self, connection: sqlite3.Connection, life: int) -> None:
        """Bring the index up to date, and forget topics that have no messages.

        Raises:
            sqlite3.OperationalError: the disk is full.

        """
        places = Places()
        load_places(places, connection, self.damage)
        places.write_some(connection)
        try:
            forget_topics(connection, life, self._topics_kept)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            # Which topics have messages is not known.
            logger.error("no topic is forgotten, since the log is damaged: %s", error)  # noqa: TRY400  # SQLite's text is all there is to know

    def _begin_life(self, connection: sqlite3.Connection) -> dict[str, int]:
        """Begin a life, in the room of the reserve if there is no other, or without writing it."""
        self.life_is_kept = True
        try:
            return begin_life(connection)
        except sqlite3.OperationalError as error:
            if not is_full(error):
                raise
            reason = error
        if self.room.give_up_reserve():
            with contextlib.suppress(sqlite3.OperationalError):
                return begin_life(connection)
        logger.warning(
            "the disk of the log is full (%s): messages can be read, and none can be published "
            "until there is room on the disk",
            reason,
        )
        self.life_is_kept = False
        return next_life(connection)

    def _set_up(self, connection: sqlite3.Connection) -> None:
        # FULL makes every commit wait for the disk: what is acknowledged survives a power cut.
        connection.execute("PRAGMA synchronous = FULL")
        # Some builds of SQLite would write zeros over all that is deleted, which takes as much room
        # in the write-ahead log as was deleted, and a full disk does not have that.
        connection.execute("PRAGMA secure_delete = FAST")
        # ``Checkpoints`` moves the write-ahead log. When that begins anew, SQLite gives back to the
        # disk what it had grown by meanwhile.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA journal_size_limit = {self.wal_limits()[0]}")

    def _corrupt(self, fault: str) -> LogCorruptError:
        return LogCorruptError(
            f"{self.path} is damaged or is not a log of this version of Riptide ({fault}). "
            "It was left as it is: see what riptide verify finds, and restore it from a backup, or "
            "move it away together with its -wal and -shm files to start with an empty log"
        )


def _what_to_do(error: Exception) -> str:
    if isinstance(error, sqlite3.Error) and is_in_use(error):
        return "another program has it open; end that program"
    elsewhere = "or set RIPTIDE_DATA_DIR to another directory"
    if is_full(error):
        return (
            "free some disk space, raise the quota or the limit of file sizes, look in the "
            f"system's log for errors of the disk, {elsewhere}"
        )
    return f"make it readable and writable for this user, {elsewhere}"
