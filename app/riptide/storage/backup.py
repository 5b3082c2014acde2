"""Copies a log out of its data directory, also while a service uses it, and back into one."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from riptide.errors import BackupError
from riptide.storage.data_directory import DataDirectory, adopt, sync
from riptide.storage.disk_room import is_in_use
from riptide.storage.file_lock import SERVED, is_locked
from riptide.storage.partial_files import delete_leftovers, partial_file
from riptide.storage.schema import find_fault
from riptide.storage.verification import find_damage

if TYPE_CHECKING:
    from collections.abc import Iterator

# Pages that are copied before Python can handle signals like Ctrl-C: 1 MiB.
STEP_PAGES = 64
# The journal modes. With a write-ahead log, whoever opens a backup would put two files beside it.
AT_REST, IN_USE = "DELETE", "WAL"


def back_up(data_directory: Path, file: Path) -> int:
    """Copy the log to a new file, whether or not a service is using it; return its size.

    The copy is the log at one moment after the call, so it has everything that was acknowledged
    before. It gets its name once it is checked and on the disk.

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
        _refuse_files_apart(directory)
        if not directory.database.stat().st_size:
            raise BackupError(
                f"{directory.database} is damaged, or is not the service's log (it is empty): "
                "there is no backup of it"
            )
        delete_leftovers(directory.database.parent)
        with partial_file(file) as partial:
            _copy(_uri_of_log(directory.database), partial)
            fault = _finish(partial, AT_REST)
            if fault is not None:
                raise BackupError(
                    f"{directory.database} is damaged or is not a log of this version of Riptide "
                    f"({fault}): there is no backup of it"
                )
            # The copy is of the files that were there when it began.
            _refuse_files_apart(directory)
            _name(partial, file)
        return file.stat().st_size


def restore(file: Path, data_directory: Path, *, replace: bool) -> None:
    """Make a copy of a backup the log of a directory, which no service may be using.

    The directory's old log stays as it is until the copy is checked and on the disk.

    Raises:
        BackupError: the file is no whole log of this version or an older one, there is a log and
            ``replace`` is not set, or the copy cannot be made.
        DataDirectoryError: a service is using the directory, or it cannot be written to.

    """
    directory = DataDirectory(data_directory)
    with _explained(f"{file} could not be copied to {directory.path}"):
        if not file.is_file():
            raise BackupError(f"there is no file {file}: name one that riptide backup has made")
        directory.take()
        try:
            _restore(file, directory, replace=replace)
        finally:
            directory.let_go()


def _restore(file: Path, directory: DataDirectory, *, replace: bool) -> None:
    there = directory.database.exists() or directory.lost_its_database()
    if directory.database.exists() and directory.database.samefile(file):
        raise BackupError(f"{file} is the log of {directory.path} itself: name a backup of it")
    if there and not replace:
        raise BackupError(
            f"{directory.path} has a log already: back it up if you may want it again, and say "
            "--replace to delete it; or set RIPTIDE_DATA_DIR to another directory"
        )
    with partial_file(directory.database) as partial:
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
    """Refuse a directory that has only logs of an earlier version, one for each worker."""
    if directory.database.exists():
        return
    workers = sorted(path.parent.name for path in directory.path.glob("worker-*/riptide.db"))
    if workers:
        raise BackupError(
            f"{directory.path} has the logs of several workers of an earlier version, a directory "
            "each, and none that a service would serve: set "
            f"RIPTIDE_DATA_DIR to one after the other ({directory.path / workers[0]} is the first "
            f"of {len(workers)})"
        )


def _refuse_files_apart(directory: DataDirectory) -> None:
    """Refuse files of which only some are those that a running service writes to.

    A copy of them would lack messages that the service has acknowledged.
    """
    wal, index = directory.beside_database()
    files = (directory.database, wal, index)
    served = [file for file in (*files, directory.lock_file) if is_locked(file, SERVED)]
    strange = [file for file in files if file not in served]
    if not served or not strange:
        return
    if strange == [index] and not index.exists():
        # Either its index is in memory, or the file was deleted.
        raise BackupError(
            f"{index} is missing: there is no backup until the service is restarted (a service "
            "that was started on a full disk keeps its log locked until it is restarted with room "
            "on the disk)"
        )
    raise BackupError(
        f"{strange[0]} is not the file that the running service writes to: it was moved, "
        "removed or replaced; see what /healthz/ready and the service's log records say of it"
    )


@contextlib.contextmanager
def _explained(failure: str) -> Iterator[None]:
    """Turn errors of the system and of SQLite into errors that say what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise BackupError(f"{failure} ({reason}): nothing was changed") from None
    except sqlite3.OperationalError as error:
        if is_in_use(error):
            raise BackupError(
                f"{failure} ({error}): nothing was changed; a service that was started on a full "
                "disk keeps its log locked until it is restarted with room on the disk"
            ) from None
        raise BackupError(
            f"{failure} ({error}): nothing was changed; see that there is room on the disk, and "
            "that this user may read the file and write to the directory"
        ) from None
    except sqlite3.DatabaseError as error:
        raise BackupError(
            f"{failure} ({error}): nothing was changed; the file is damaged, or is no log"
        ) from None
    except UnicodeDecodeError:
        # SQLite's message about a damaged schema repeats the bytes that it found there.
        raise BackupError(
            f"{failure} (its schema is not UTF-8): nothing was changed; the file is damaged"
        ) from None


def _uri_of_log(database: Path) -> str:
    """Return the URI that opens a log that a service may be using."""
    # If nobody uses the log, whoever closes it last deletes its write-ahead log. One that a crash
    # has left is not ours to delete: the next start reports what is damaged in it. Without one,
    # only a connection that may write takes the files away that it has put beside the database.
    wal = Path(f"{database}-wal")
    is_left = wal.exists() and wal.stat().st_size > 0
    return f"{database.absolute().as_uri()}?mode={'ro' if is_left else 'rw'}"


def _uri_at_rest(file: Path) -> str:
    """Return the URI that opens a file that nobody uses, without creating files beside it.

    A file that was copied by hand may have a write-ahead log beside it, which is part of it.
    """
    mode = "mode=ro" if Path(f"{file}-wal").exists() else "immutable=1"
    return f"{file.absolute().as_uri()}?{mode}"


def _copy(uri: str, partial: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as source,
        contextlib.closing(sqlite3.connect(partial, isolation_level=None)) as copy,
    ):
        copy.execute("PRAGMA synchronous = OFF")
        # A read transaction keeps the source at one moment, and hinders no writer in WAL mode.
        # Without the transaction, the backup would begin again after each commit, and never end.
        source.execute("BEGIN")
        source.execute("PRAGMA schema_version").fetchone()
        source.backup(copy, pages=STEP_PAGES, progress=_take_turns)


def _take_turns(_status: int, _remaining: int, _total: int) -> None:
    """Let Python handle its signals between two steps."""


def _finish(partial: Path, journal_mode: str) -> str | None:
    """Check the copy and sync it to the disk; return its fault, if it has one."""
    with contextlib.closing(sqlite3.connect(partial, isolation_level=None)) as copy:
        fault = find_fault(copy) or next((f.text for f in find_damage(copy, at_rest=True)), None)
        if fault is None:
            copy.execute(f"PRAGMA journal_mode = {journal_mode}")
    sync(partial)
    return fault


def _name(partial: Path, file: Path) -> None:
    """Give the copy its name, unless a file of that name exists by now."""
    try:
        os.link(partial, file)
    except FileExistsError:
        raise BackupError(f"{file} has come to exist meanwhile, and is not overwritten") from None
    except OSError:
        # Not every file system has hard links.
        if os.path.lexists(file):
            raise BackupError(f"{file} has come to exist, and is not overwritten") from None
        partial.rename(file)
    sync(file.parent)


def _take_place_of_log(partial: Path, directory: DataDirectory) -> None:
    # The old write-ahead log goes first. Before that, its content is written into the old database,
    # if that can be read: should this process be killed before the last step, the old log is whole.
    with (
        contextlib.suppress(sqlite3.Error, UnicodeDecodeError),
        contextlib.closing(sqlite3.connect(directory.database, isolation_level=None)) as old,
    ):
        old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    directory.replace_database(partial)
