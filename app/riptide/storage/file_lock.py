"""Locks on files that SQLite has open too, which leave SQLite's own locks alone.

They belong to an open file (``F_OFD_SETLK`` of Linux). SQLite's locks belong to the process: all of
them go as soon as the process closes any descriptor of the file. So a descriptor that was opened
here for a database stays open as long as SQLite may use the file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class LockedBytes(NamedTuple):
    """Bytes to lock; they need not exist. Only one process has a lock that is not shared."""

    first: int
    length: int = 1
    shared: bool = False


# SQLite locks 512 bytes from here on (SQLite's os.h, PENDING_BYTE).
_SQLITE: Final = 0x40000000
# A process has the log in this file open.
IN_USE: Final = LockedBytes(_SQLITE + 512)
# A service writes its log to this file, or to files beside it.
SERVED: Final = LockedBytes(_SQLITE + 513, shared=True)

# struct flock of Linux: type, whence, first byte, length, process.
_LAYOUT: Final = "hhqqi"


def lock(descriptor: int, what: LockedBytes) -> bool:
    """Lock bytes of an open file until it is closed; return False if another process has them.

    Raises:
        OSError: the system or the file system has no such locks.

    """
    try:
        _ask("F_OFD_SETLK", descriptor, what, fcntl.F_RDLCK if what.shared else fcntl.F_WRLCK)
    except (BlockingIOError, PermissionError):
        return False
    return True


def is_locked(path: Path, what: LockedBytes) -> bool:
    """Return whether a process has locked the bytes; False if the file cannot be read.

    The file may be a database that this very process has open. So it is not closed again, which
    would cost SQLite its locks: this is for commands, which end soon.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        return _ask("F_OFD_GETLK", descriptor, what, fcntl.F_WRLCK) != fcntl.F_UNLCK
    return False


def _ask(command: str, descriptor: int, what: LockedBytes, kind: int) -> int:
    if sys.platform != "linux":  # other systems have no such locks, or another struct flock
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
    flock = struct.pack(_LAYOUT, kind, os.SEEK_SET, what.first, what.length, 0)
    answer = fcntl.fcntl(descriptor, getattr(fcntl, command), flock)
    return int(struct.unpack_from("h", answer)[0])
