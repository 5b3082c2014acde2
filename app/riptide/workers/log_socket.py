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
    directory = tempfile.mkdtemp(prefix="riptide-")
    try:
        with contextlib.ExitStack() as undo:
            path = Path(directory) / "log"
            listener = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            listener.bind(str(path))
            listener.listen(BACKLOG)
            # A descriptor of the name alone; through it the name goes on to lead to the socket.
            descriptor = os.open(path, os.O_PATH)
            undo.pop_all()
    except (OSError, AttributeError) as error:
        raise StartError(
            f"cannot make a socket for the log of several workers ({error}): use one worker"
        ) from None
    finally:
        shutil.rmtree(directory)
    return LogSocket(listener, descriptor)


def path_of(descriptor: int) -> Path:
    """Return the path by which a process that has inherited the descriptor reaches the socket."""
    return Path(f"/proc/self/fd/{descriptor}")
