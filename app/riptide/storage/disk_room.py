"""Room on the disk of the log: how much there is, and the reserve with which a full disk heals.

A deletion, too, needs room on the disk: SQLite appends each change to the write-ahead log, and
moves it from there to the database. On a disk without any room, expired messages could never be
deleted. So the lock file takes room that the log gives up when a deletion finds the disk full.
Messages are refused while the log could not have that room.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from riptide.storage.data_directory import FULL
from riptide.storage.schema import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from riptide.publication import Publication
    from riptide.storage.data_directory import DataDirectory

# What the write-ahead log grows to at most before appends wait until its content is moved to the
# database. Beyond that it grows only behind a reader, or while the disk fails.
RESERVE_BYTES: Final = 64 * 1024 * 1024
# On a small disk, the reserve is this part of the disk.
RESERVE_SHARE: Final = 16
# A commit rewrites some pages of the tables and of the list of free pages as well.
COMMIT_PAGES: Final = 8
# What a message takes beside its payload, in the table of messages and in that of places.
ROW_BYTES: Final = 80
# With so much room, the disk is looked at only now and then: that takes 30 µs, and a commit 800 µs.
PLENTY_BYTES: Final = 1024 * 1024 * 1024
PLENTY_LASTS_S: Final = 0.1

# SQLite calls a disk full if the system says ENOSPC, and all other failures to write I/O errors: a
# quota that is used up, a limit of file sizes, no room for the index of the write-ahead log.
_FULL_IN_SQLITE: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})

_IN_USE: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


class DiskFullError(OSError):
    """There is less room on the disk than an append needs, or than the log needs for itself."""

    def __init__(self, free_bytes: int) -> None:
        super().__init__(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._free_bytes = free_bytes

    def __str__(self) -> str:
        """Return the reason, for publishers and operators."""
        return f"the disk is full: {self._free_bytes} bytes are free, and the log needs more"


class DatabaseSize(NamedTuple):
    """What deletions have left free in the database, and its size once all commits are in it."""

    reusable_bytes: int
    bytes: int


class DiskRoom:
    """The room for a log's files in its directory, and the reserve of it."""

    def __init__(self, directory: DataDirectory) -> None:
        self._directory = directory
        self._wal = directory.beside_database()[0]
        self._plenty_until = 0.0

    def reserve_bytes(self) -> int:
        """Return the size that the reserve should have; 0 if the disk does not tell its own."""
        return _reserve_bytes(self._directory.disk())

    def make_reserve(self) -> None:
        """Take the reserve from the disk, unless it is there or the disk has no room for it."""
        status = self._directory.disk()
        size = _reserve_bytes(status)
        missing = size - self._directory.reserved_bytes()
        if missing > 0 and _free_bytes(status) >= missing:
            # Somebody else may be faster. The next attempt may find more room.
            with contextlib.suppress(OSError):
                self._directory.reserve(size)

    def give_up_reserve(self) -> bool:
        """Give the reserve back to the disk; return whether there was one."""
        there = self._directory.reserved_bytes() > 0
        self._directory.give_up_reserve()
        return there

    def require(
        self, publications: Sequence[Publication], database: Callable[[], DatabaseSize]
    ) -> None:
        """Check that a commit leaves the log the room to move it to the database and to delete.

        Raises:
            DiskFullError: it would not.

        """
        now = time.monotonic()
        if now < self._plenty_until:
            return
        status = self._directory.disk()
        free, reserve = _free_bytes(status), _reserve_bytes(status)
        if not reserve:
            return
        wal = self.wal_bytes()
        kept_free = max(0, reserve - self._directory.reserved_bytes())
        size = sum(map(_most_bytes, publications)) + COMMIT_PAGES * PAGE_BYTES
        # All of the write-ahead log may have to be moved to the end of the database.
        if free >= kept_free + wal + size + size + reserve:
            if free >= kept_free + wal + PLENTY_BYTES:
                self._plenty_until = now + PLENTY_LASTS_S
            return
        reusable, database_bytes = database()
        # In this order: a checkpoint that is under way makes the one smaller, and then the other.
        unmoved = max(0, database_bytes - self._directory.database.stat().st_size)
        free = _free_bytes(self._directory.disk())
        # A database that grows must leave the write-ahead log its room, with which messages can be
        # published again once others have been deleted.
        growth = max(0, size - reusable)
        room_of_wal = reserve if growth else 0
        if free + min(wal, reserve) < kept_free + unmoved + size + growth + room_of_wal:
            raise DiskFullError(free)

    def wal_bytes(self) -> int:
        """Return the size of the write-ahead log."""
        try:
            return self._wal.stat().st_size
        except OSError:
            return 0


def is_full(error: Exception) -> bool:
    """Return whether an error can mean that the disk has no room."""
    if isinstance(error, sqlite3.Error):
        return primary_code(error) in _FULL_IN_SQLITE
    return isinstance(error, OSError) and error.errno in FULL


def is_in_use(error: sqlite3.Error) -> bool:
    """Return whether an error means that another program has locked the file."""
    return primary_code(error) in _IN_USE


def explain(error: Exception) -> str:
    """Return why the log failed, for publishers and operators."""
    if isinstance(error, sqlite3.Error) and is_in_use(error):
        return "another program has locked the log; find that program and end it"
    return str(error)


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's code of the error without its details; 0 if it is not SQLite's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _most_bytes(publication: Publication) -> int:
    """Return the most bytes that the rows of a publication take."""
    # A page may have room for one message only, or the last page of a large message be empty.
    size, count = publication.size_bytes(), len(publication.payloads)
    return min(2 * size + count * ROW_BYTES, size * 5 // 4 + count * PAGE_BYTES)


def _reserve_bytes(status: os.statvfs_result) -> int:
    return min(RESERVE_BYTES, status.f_blocks * status.f_frsize // RESERVE_SHARE)


def _free_bytes(status: os.statvfs_result) -> int:
    return status.f_bavail * status.f_frsize
