"""The socket between the workers and the process of their log, which nobody else can reach."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import NamedTuple

from riptide.errors import StartError

BACKLOG = 1024
# What is there also where every disk is read-only.
MEMORY = "/dev/shm"  # noqa: S108  # the directory is made for one user, and is gone at once


class LogSocket(NamedTuple):
    """A listening socket, and a descriptor by which processes that inherit it find the socket.

    It has no name in any directory, so nothing that tidies directories up can take it away, and it
    listens also while the process of the log is being replaced.
    """

    listener: socket.socket
    descriptor: int


def make_log_socket() -> LogSocket:
    """Return a new socket.

    Raises:
        StartError: the system gives none.

    """
    directory: str | None = None
    try:
        directory = _make_directory()
        with contextlib.ExitStack() as undo:
            place = os.open(directory, os.O_PATH | os.O_CLOEXEC)
            undo.callback(os.close, place)
            # A path of a socket is at most 107 bytes long, and this one is short.
            path = path_of(place) / "log"
            listener = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            listener.bind(str(path))
            listener.listen(BACKLOG)
            # A descriptor of the name alone; through it the name goes on to lead to the socket.
            descriptor = os.open(path, os.O_PATH)
            undo.pop_all()
            os.close(place)
    except (OSError, AttributeError) as error:
        raise StartError(
            f"cannot make a socket for the log of several workers ({error}): use one worker"
        ) from None
    finally:
        if directory is not None:
            shutil.rmtree(directory)
    return LogSocket(listener, descriptor)


def _make_directory() -> str:
    try:
        return tempfile.mkdtemp(prefix="riptide-")
    except OSError:
        # No directory for temporary files can be written to.
        return tempfile.mkdtemp(prefix="riptide-", dir=MEMORY)


def path_of(descriptor: int) -> Path:
    """Return the path by which a process that has inherited the descriptor reaches the socket."""
    return Path(f"/proc/self/fd/{descriptor}")
