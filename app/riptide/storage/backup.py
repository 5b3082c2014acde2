"""Copies of a log: out of its data directory while a service uses it, and back into one."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from riptide.errors import BackupError
from riptide.storage.data_directory import DataDirectory, adopt
from riptide.storage.schema import find_fault

if TYPE_CHECKING:
    from collections.abc import Iterator

# A megabyte, then others have their turn: the writer of the log, and Ctrl-C.
STEP_PAGES = 64
# With a write-ahead log a backup would be three files as soon as somebody looked into it.
AT_REST, IN_USE = "DELETE", "WAL"


def back_up(data_directory: Path, file: Path) -> int:
    """Copy the log to a new file, whether or not a service is using it; return its size.

    The copy is of one moment: everything acknowledged before this was called is in it. It takes its
    name only once it has been checked and is on the disk.

    Raises:
        BackupError: there is no log, the file exists, or the copy cannot be made.

    """
    directory = DataDirectory(data_directory)
    with _explained(f"{directory.database} could not be copied to {file}"):
        _refuse_directory_of_workers(directory)
        if not directory.database.is_file():
            raise BackupError(
                f"there is no log in {directory.path}: set RIPTIDE_DATA_DIR to the directory that "
                "the service has it in"
            )
        if os.path.lexists(file):
            raise BackupError(
                f"{file} exists, and is not overwritten: name a new file, or remove it"
            )
        with _partial(file) as partial:
            _copy(f"{directory.database.absolute().as_uri()}?mode=rw", partial)
            fault = _finish(partial, AT_REST)
            if fault is not None:
                raise BackupError(
                    f"{directory.database} is damaged or is not a log of this version of Riptide "
                    f"({fault}): there is no backup of it"
                )
            _name(partial, file)
        return file.stat().st_size


def restore(file: Path, data_directory: Path, *, replace: bool) -> None:
    """Make a copy of a backup the log of a directory, which no service may be using.

    Until the copy has been checked and is on the disk, the log that is there stays as it is.

    Raises:
        BackupError: the file is no whole log of this version or an older one, there is a log and
            ``replace`` is not set, or the copy cannot be made.
        DataDirectoryError: a service is using the directory, or it cannot be written to.

    """
    directory = DataDirectory(data_directory)
    with _explained(f"{file} could not be copied to {directory.path}"):
        if not file.is_file():
            raise BackupError(f"there is no file {file}: name one that riptide backup has made")
        _refuse_directory_of_workers(directory)
        directory.take()
        try:
            _restore(file, directory, replace=replace)
        finally:
            directory.let_go()


def _restore(file: Path, directory: DataDirectory, *, replace: bool) -> None:
    there = directory.database.exists()
    if there and directory.database.samefile(file):
        raise BackupError(f"{file} is the log of {directory.path} itself: name a backup of it")
    if there and not replace:
        raise BackupError(
            f"{directory.path} has a log already: back it up if you may want it again, and say "
            "--replace to delete it; or set RIPTIDE_DATA_DIR to another directory"
        )
    with _partial(directory.database) as partial:
        _copy(_uri_at_rest(file), partial)
        fault = _finish(partial, IN_USE)
        if fault is not None:
            raise BackupError(
                f"{file} is damaged or is not a log of this version of Riptide ({fault}): "
                f"it was not restored, and {directory.path} is as it was"
            )
        adopt(partial)
        _take_place_of_log(partial, directory)


def _refuse_directory_of_workers(directory: DataDirectory) -> None:
    """Refuse to guess which log is meant where each worker has one."""
    if directory.database.exists():
        return
    workers = sorted(path.parent.name for path in directory.path.glob("worker-*/riptide.db"))
    if workers:
        raise BackupError(
            f"{directory.path} has the logs of several workers, a directory each: set "
            f"RIPTIDE_DATA_DIR to one after the other ({directory.path / workers[0]} is the first "
            f"of {len(workers)})"
        )


@contextlib.contextmanager
def _explained(failure: str) -> Iterator[None]:
    """Turn what the system or SQLite says into an error that says what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise BackupError(f"{failure} ({reason}): nothing was changed") from None
    except sqlite3.OperationalError as error:
        raise BackupError(
            f"{failure} ({error}): nothing was changed; see that there is room on the disk, and "
            "that this user may read the one and write the other"
        ) from None
    except sqlite3.DatabaseError as error:
        raise BackupError(
            f"{failure} ({error}): nothing was changed; it is damaged, or no log"
        ) from None


@contextlib.contextmanager
def _partial(file: Path) -> Iterator[Path]:
    """Yield an empty file of ours beside ``file``, which is gone afterwards unless it was moved."""
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".partial", dir=file.parent)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            Path(f"{name}{suffix}").unlink(missing_ok=True)


def _uri_at_rest(file: Path) -> str:
    """Return how to open a file that nobody uses, without leaving anything beside it.

    A copy of the service's files by hand may have a write-ahead log, which belongs to it.
    """
    mode = "mode=ro" if Path(f"{file}-wal").exists() else "immutable=1"
    return f"{file.absolute().as_uri()}?{mode}"


def _copy(uri: str, partial: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as source,
        contextlib.closing(sqlite3.connect(partial, isolation_level=None)) as copy,
    ):
        copy.execute("PRAGMA synchronous = OFF")
        # A transaction that reads holds on to its moment, and with a write-ahead log hinders no
        # writer. Without one the backup would begin again after each commit, and never end.
        source.execute("BEGIN")
        source.execute("PRAGMA schema_version").fetchone()
        source.backup(copy, pages=STEP_PAGES, progress=_take_turns)


def _take_turns(_status: int, _remaining: int, _total: int) -> None:
    """Let Python handle its signals between two steps."""


def _finish(partial: Path, journal_mode: str) -> str | None:
    """Check the copy and bring it to the disk; return what is wrong with it."""
    with contextlib.closing(sqlite3.connect(partial, isolation_level=None)) as copy:
        fault = find_fault(copy)
        if fault is None:
            copy.execute(f"PRAGMA journal_mode = {journal_mode}")
    _sync(partial)
    return fault


def _name(partial: Path, file: Path) -> None:
    """Give the copy its name, unless something has it."""
    try:
        os.link(partial, file)
    except FileExistsError:
        raise BackupError(f"{file} has come to exist meanwhile, and is not overwritten") from None
    except OSError:
        # Not every file system has links.
        if os.path.lexists(file):
            raise BackupError(f"{file} has come to exist, and is not overwritten") from None
        partial.rename(file)
    _sync(file.parent)


def _take_place_of_log(partial: Path, directory: DataDirectory) -> None:
    # The write-ahead log of the one must not meet the other; and if we are ended in between, the
    # old log is to be whole, where it still can be read.
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(directory.database, isolation_level=None)) as old,
    ):
        old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for leftover in directory.beside_database():
        leftover.unlink(missing_ok=True)
    _sync(directory.path)
    partial.replace(directory.database)
    _sync(directory.path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
