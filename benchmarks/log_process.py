"""The process of the log of several workers, without workers."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.service import environment_of
from riptide.workers.board import make_board
from riptide.workers.log_socket import make_log_socket, path_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Nothing is trimmed while appends are measured.
RETENTION = 10_000_000
START_DEADLINE_S = 60.0


class LogProcess(NamedTuple):
    """The process, the path of its socket, and what a process that uses the path inherits."""

    pid: int
    path: str
    descriptors: list[int]


@contextlib.contextmanager
def running(data_dir: Path) -> Iterator[LogProcess]:
    """Run the process within this context.

    Raises:
        RuntimeError: it did not start.

    """
    board, log = make_board(1), make_log_socket()
    inherited = [log.listener.fileno(), board.descriptor]
    arguments = ["-m", "riptide.workers.log_process", "0", *map(str, inherited)]
    ours, theirs = socket.socketpair()
    with ours, log.listener:
        process = subprocess.Popen(  # noqa: S603  # our own module
            [sys.executable, *arguments],
            env=dict(os.environ)
            | environment_of(
                telemetry=True, log="sqlite", data_dir=data_dir, retention_messages=RETENTION
            ),
            stdin=theirs.fileno(),
            pass_fds=inherited,
        )
        theirs.close()
        try:
            deadline = time.monotonic() + START_DEADLINE_S
            while not board.has_served(0):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the process of the log did not start")
                time.sleep(0.02)
            yield LogProcess(process.pid, str(path_of(log.descriptor)), [log.descriptor])
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()
            for descriptor in (log.descriptor, board.descriptor):
                os.close(descriptor)
