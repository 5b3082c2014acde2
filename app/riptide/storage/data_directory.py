"""The directory of a log: one process at a time may use it, and only its user may read it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from typing import TYPE_CHECKING

from riptide.errors import DataDirectoryError

if TYPE_CHECKING:
    from pathlib import Path

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
# The system's errors when a disk, a quota or a limit of file sizes has no room.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class DataDirectory:
    """Locks a directory, creates what is missing, and closes its files to other users.

    Modes do not depend on the umask. A directory that exists already keeps its mode, which its
    creator chose. Files in it do not, because they hold what was published.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / "riptide.db"
        self._lock_file = path / "riptide.lock"
        self._lock: int | None = None

    def take(self) -> None:
        """Create the directory if it is missing, and lock it against other processes.

        Raises:
            DataDirectoryError: the directory cannot be written to, or is in use.

        """
        try:
            self._create()
            lock = self._open(self._lock_file, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            advice = (
                "free some disk space, or set RIPTIDE_DATA_DIR to a directory on another disk"
                if error.errno in FULL
                else "set RIPTIDE_DATA_DIR to a directory that this user may write to, "
                "or RIPTIDE_LOG=memory to keep nothing"
            )
            raise DataDirectoryError(
                f"cannot write to the data directory {self.path} ({error.strerror}): {advice}"
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise DataDirectoryError(
                f"the data directory {self.path} is in use by another Riptide process: "
                "stop that one, or set RIPTIDE_DATA_DIR to another directory"
            ) from None
        self._lock = lock

    def let_go(self) -> None:
        """Unlock the directory. What the lock file reserves stays reserved for the next life."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def disk(self) -> os.statvfs_result:
        """Return the size of the directory's disk, and how much room it has.

        Raises:
            OSError: the system does not say.

        """
        return os.statvfs(self.path if self._lock is None else self._lock)

    def reserve(self, size_bytes: int) -> None:
        """Make the lock file take so much room on the disk.

        Raises:
            OSError: the disk has no room for it.

        """
        if self._lock is not None:
            os.posix_fallocate(self._lock, 0, size_bytes)

    def reserved_bytes(self) -> int:
        """Return how much room the lock file takes."""
        return 0 if self._lock is None else os.fstat(self._lock).st_size

    def give_up_reserve(self) -> None:
        """Give the room that the lock file takes back to the disk."""
        if self._lock is not None:
            os.ftruncate(self._lock, 0)

    def create(self, file: Path) -> None:
        """Create an empty file in the directory if it is missing, with our mode.

        SQLite gives the files that it puts beside a database the mode and the owner of the latter.

        Raises:
            OSError: the file cannot be created.

        """
        with contextlib.suppress(FileExistsError):
            os.close(self._open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL))

    def replace_database(self, file: Path) -> None:
        """Let a file of the directory, which is on the disk, take the place of the database.

        Raises:
            OSError: the database could not be replaced.

        """
        # SQLite would apply the old write-ahead log to the new database, so it has to go first.
        for leftover in self.beside_database():
            leftover.unlink(missing_ok=True)
        sync(self.path)
        file.replace(self.database)
        sync(self.path)

    def close_to_others(self) -> None:
        """Take from other users the access that an older version or a copy by hand left them.

        Files that belong to another user stay as they are.
        """
        for file in (self._lock_file, self.database, *self.beside_database()):
            with contextlib.suppress(OSError):
                status = file.stat()
                if status.st_uid == os.geteuid() and status.st_mode & 0o777 != FILE_MODE:
                    file.chmod(FILE_MODE)

    def beside_database(self) -> tuple[Path, ...]:
        """Return SQLite's write-ahead log and its index, which lie beside the database."""
        return tuple(self.path / f"{self.database.name}{suffix}" for suffix in ("-wal", "-shm"))

    def _create(self) -> None:
        for directory in (*reversed(self.path.parents), self.path):
            if not directory.exists():
                directory.mkdir(DIRECTORY_MODE, exist_ok=True)
                directory.chmod(DIRECTORY_MODE)
                adopt(directory)

    def _open(self, file: Path, flags: int) -> int:
        new = not file.exists()
        descriptor = os.open(file, flags | os.O_CLOEXEC, FILE_MODE)
        if new:
            os.fchmod(descriptor, FILE_MODE)
            adopt(file)
        return descriptor


def adopt(path: Path) -> None:
    """Give a file or directory that root has created to the owner of the directory it is in."""
    if os.geteuid() == 0:
        owner = path.absolute().parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
