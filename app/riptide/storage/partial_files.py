"""Files that are not complete yet: each has a hidden name until then, and is locked."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from riptide.storage.file_lock import IN_USE, lock

if TYPE_CHECKING:
    from collections.abc import Iterator

# A hidden name with the eight characters of ``tempfile.mkstemp``.
_NAME = re.compile(r"\..+\.[a-z0-9_]{8}\.partial", re.DOTALL)
_MAGIC = b"SQLite format 3\0"
# What SQLite may put beside a file.
_SUFFIXES = ("-journal", "-wal", "-shm")


@contextlib.contextmanager
def partial_file(file: Path) -> Iterator[Path]:
    """Yield a new, empty file beside ``file``, and delete it at the end unless it was moved.

    Before, those are deleted that were left in the directory by processes that were killed.

    Raises:
        OSError: the directory cannot be written to.

    """
    delete_leftovers(file.parent)
    descriptor, path = _create(file)
    try:
        yield path
    finally:
        _delete(path)
        os.close(descriptor)


def delete_leftovers(directory: Path) -> None:
    """Delete the partial files of processes that were killed, as far as this user may."""
    with contextlib.suppress(OSError):
        for path in list(directory.iterdir()):
            if _NAME.fullmatch(path.name):
                with contextlib.suppress(OSError):
                    _delete_leftover(path)


def _create(file: Path) -> tuple[int, Path]:
    """Create a locked file that nobody takes for a leftover."""
    while True:
        descriptor, name = tempfile.mkstemp(
            prefix=f".{file.name}.", suffix=".partial", dir=file.parent
        )
        try:
            is_locked = lock(descriptor, IN_USE)
        except OSError:
            is_locked = True  # where there are no such locks, nobody deletes leftovers
        if is_locked and os.fstat(descriptor).st_nlink:
            return descriptor, Path(name)
        # Another process has taken it for a leftover before it was locked.
        os.close(descriptor)


def _delete_leftover(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if _is_ours(descriptor) and lock(descriptor, IN_USE):
            _delete(path)
    finally:
        os.close(descriptor)


def _is_ours(descriptor: int) -> bool:
    """Return whether a file begins as a database does, or has no beginning yet."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return False
    start = os.pread(descriptor, len(_MAGIC), 0)
    return start == _MAGIC or not start.strip(b"\0")


def _delete(path: Path) -> None:
    # The file itself goes last, since what is beside it is found by its name.
    for suffix in (*_SUFFIXES, ""):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
