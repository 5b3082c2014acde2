"""The process of the log by itself, started as the supervisor starts it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

from riptide.storage.shared.client import SharedLog
from riptide.workers.board import Board, make_board
from riptide.workers.lifeline import START_FAILED
from tests.app.storage.appending import append
from tests.app.storage.shared.sharing import listen
from tests.waiting import DEADLINE_S, in_time, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SLOT = 2
PROGRAM = ("-m", "riptide.workers.log_process")
# A fault in what the process does again and again.
FAULTY = """
import sys
from riptide.storage.shared.server import LogServer
from riptide.workers import log_process

def fail(self):
    raise LookupError("a fault that was put here")

LogServer.state = fail
sys.exit(log_process.main(*map(int, sys.argv[1:])))
"""


class LogProcess(NamedTuple):
    """The process, and what it shares."""

    process: subprocess.Popen[bytes]
    board: Board
    lifeline: socket.socket
    path: Path

    def wait_until_it_serves(self) -> None:
        wait_until(lambda: self.board.has_served(SLOT) or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.communicate()

    def end(self) -> bytes:
        """Wait until it has ended, and return what it has said."""
        _, errors = self.process.communicate(timeout=DEADLINE_S)
        return errors


@contextlib.contextmanager
def _log_process(directory: Path, *program: str) -> Iterator[LogProcess]:
    board, path = make_board(SLOT + 1), directory / "log.socket"
    lifeline, theirs = socket.socketpair()
    with listen(path) as listener, lifeline:
        descriptors = (listener.fileno(), board.descriptor)
        process = subprocess.Popen(
            [
                *(sys.executable, "-P", *(program or PROGRAM)),
                *map(str, (SLOT, *descriptors)),
            ],
            stdin=theirs.fileno(),
            stderr=subprocess.PIPE,
            pass_fds=descriptors,
            env={**os.environ, "RIPTIDE_DATA_DIR": str(directory / "data")},
        )
        theirs.close()
        with process:
            yield LogProcess(process, board, lifeline, path)
            process.kill()
    os.close(board.descriptor)


async def _append_one(path: Path) -> int:
    log = SharedLog(path)
    await in_time(log.open())
    try:
        return await append(log, "a", b"1")
    finally:
        await log.close()


def test_it_keeps_the_log_until_sigint_and_ignores_what_systemd_sends_to_all(
    tmp_path: Path,
) -> None:
    with _log_process(tmp_path) as log:
        log.wait_until_it_serves()
        assert log.board.ports() == {}
        assert asyncio.run(_append_one(log.path)) == 1
        for number in (signal.SIGTERM, signal.SIGHUP):
            log.process.send_signal(number)
        alive = log.board.beats(SLOT)
        wait_until(lambda: log.board.beats(SLOT) > alive)
        assert asyncio.run(_append_one(log.path)) == 2
        log.process.send_signal(signal.SIGINT)
        assert log.end() == b""
        assert log.process.returncode == 0
    assert (tmp_path / "data" / "riptide.db").exists()


def test_without_a_supervisor_it_ends_once_all_workers_have_left(tmp_path: Path) -> None:
    async def leave_late(log: LogProcess) -> None:
        worker = SharedLog(log.path)
        await in_time(worker.open())
        log.lifeline.close()
        # Until it sees its lifeline cut.
        await asyncio.sleep(0.5)
        assert log.process.poll() is None
        assert await append(worker, "a", b"1") == 1
        await worker.close()

    with _log_process(tmp_path) as log:
        log.wait_until_it_serves()
        asyncio.run(leave_late(log))
        log.end()
        assert log.process.returncode == 0


def test_what_was_acknowledged_is_there_after_it_was_killed(tmp_path: Path) -> None:
    for expected in (1, 2, 3):
        with _log_process(tmp_path) as log:
            log.wait_until_it_serves()
            assert asyncio.run(_append_one(log.path)) == expected
            log.process.kill()
            log.end()


def test_a_log_that_cannot_be_opened_is_said_by_the_exit_code_and_on_the_lifeline(
    tmp_path: Path,
) -> None:
    (tmp_path / "data").write_text("not a directory")
    with _log_process(tmp_path) as log:
        assert log.end() == b""
        assert log.process.returncode == START_FAILED
        assert b"RIPTIDE_DATA_DIR" in log.lifeline.recv(10_000)


def test_a_fault_is_said_and_ends_the_process_at_once(tmp_path: Path) -> None:
    with _log_process(tmp_path, "-c", FAULTY) as log:
        said = log.end().decode()
        assert log.process.returncode == 1
    assert "a fault that was put here" in said
    assert said.splitlines()[-1].startswith(
        "riptide: the process of the log has ended because of a fault of Riptide in log_server"
    )
