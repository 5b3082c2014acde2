"""The directory of a log: one process at a time may use it, and only its user may read it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path

from riptide.errors import DataDirectoryError
from riptide.storage.file_lock import IN_USE, lock

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
# As much as a page of any database has.
READ_BYTES = 512
# The system's errors when a disk, a quota or a limit of file sizes has no room.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class DataDirectory:
    """Locks a directory and its database, creates what is missing, keeps other users out.

    The database is locked itself, too: the lock file may have been deleted, and the database may be
    in several directories, through a link or a mount.

    Modes do not depend on the umask. A directory that exists already keeps its mode, which its
    creator chose. Files in it do not, because they hold what was published.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # The name of the database, which may be a link to it.
        self.entry = path / "riptide.db"
        self.database = _followed(self.entry)
        self.lock_file = path / "riptide.lock"
        self._lock: int | None = None
        # A descriptor of the database. It stays open as long as SQLite uses the file.
        self._database: int | None = None

    def take(self) -> None:
        """Create the directory if it is missing, and lock it against other processes.

        Raises:
            DataDirectoryError: the directory cannot be written to, or is in use.

        """
        try:
            self._create()
            lock_file = self._open(self.lock_file, os.O_RDWR | os.O_CREAT)
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
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock_file)
            raise self._in_use() from None
        self._lock = lock_file
        # What cannot be opened here is locked by nobody of this user, and SQLite says why.
        with contextlib.suppress(OSError):
            self._lock_database(os.O_RDWR)

    def let_go(self) -> None:
        """Unlock the directory and the database, once SQLite has closed the latter.

        What the lock file reserves stays reserved for the next life.
        """
        for descriptor in (self._database, self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._database = self._lock = None

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

    def create_database(self) -> None:
        """Create an empty database if there is none, and lock it.

        Raises:
            OSError: the file cannot be created.

        """
        if not self.database.exists():
            self._lock_database(os.O_RDWR | os.O_CREAT | os.O_EXCL)

    def lock_new_database(self) -> None:
        """Lock the database that has taken the place of the one that was locked.

        SQLite must have neither of them open.
        """
        if self._database is not None:
            os.close(self._database)
            self._database = None
        self._lock_database(os.O_RDWR)

    def replace_database(self, file: Path) -> None:
        """Let a file beside the database, which is on the disk, take its place.

        Raises:
            OSError: the database could not be replaced.

        """
        # SQLite would apply the old write-ahead log to the new database, so it has to go first.
        for leftover in self.beside_database():
            leftover.unlink(missing_ok=True)
        sync(self.database.parent)
        file.replace(self.database)
        sync(self.database.parent)

    def lost_its_database(self) -> bool:
        """Return whether there is a write-ahead log with content, and no database that it is of.

        SQLite would delete it, with all messages that are nowhere else.
        """
        wal = self.beside_database()[0]
        return _size(wal) > 0 and _size(self.database) == 0

    def close_to_others(self) -> None:
        """Take from other users the access that an older version or a copy by hand left them.

        Files that belong to another user stay as they are.
        """
        for file in (self.lock_file, self.database, *self.beside_database()):
            with contextlib.suppress(OSError):
                status = file.stat()
                if status.st_uid == os.geteuid() and status.st_mode & 0o777 != FILE_MODE:
                    file.chmod(FILE_MODE)

    def beside_database(self) -> tuple[Path, ...]:
        """Return SQLite's write-ahead log and its index, which lie beside the database."""
        return tuple(
            self.database.with_name(f"{self.database.name}{suffix}") for suffix in ("-wal", "-shm")
        )

    def descriptors(self) -> tuple[int, int]:
        """Return the descriptors of the lock file and of the database, which stay the directory's.

        Raises:
            OSError: they are not open.

        """
        if self._lock is None or self._database is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.database))
        return self._lock, self._database

    def read_a_little(self) -> bytes:
        """Read the beginning of the database.

        Raises:
            OSError: the disk does not give it.

        """
        # Another descriptor would cost SQLite its locks when it is closed.
        return os.pread(self.descriptors()[1], READ_BYTES, 0)

    def _lock_database(self, flags: int) -> None:
        descriptor = self._open(self.database, flags)
        try:
            is_ours = lock(descriptor, IN_USE)
        except OSError:
            is_ours = True  # where there are no such locks, the lock file has to do
        if not is_ours:
            # The descriptor stays open: if this very process has the log open, SQLite would lose
            # its locks on the file.
            self.let_go()
            raise self._in_use()
        self._database = descriptor

    def _in_use(self) -> DataDirectoryError:
        return DataDirectoryError(
            f"the data directory {self.path} is in use by another Riptide process: "
            "stop that one, or set RIPTIDE_DATA_DIR to another directory"
        )

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


def _followed(file: Path) -> Path:
    """Return where a link leads: SQLite puts its files beside the database, not beside the link."""
    return Path(os.path.realpath(file)) if file.is_symlink() else file


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


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
