"""One worker by itself, started as the supervisor starts it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from riptide.settings.settings import Settings
from riptide.storage.memory import MemoryLog
from riptide.storage.message_log import Retention
from riptide.workers.board import Board, make_board
from riptide.workers.lifeline import START_FAILED
from riptide.workers.log_socket import make_log_socket
from riptide.workers.metrics_memory import make_metrics_memory
from riptide.workers.shared_limits import make_shared_limits
from tests import plain
from tests.app.storage.shared.sharing import serving
from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKER = (sys.executable, "-P", "-m", "riptide.workers.worker")
SLOT = 3


@contextlib.contextmanager
def _served(listener: socket.socket) -> Iterator[None]:
    async def serve() -> None:
        async with serving(MemoryLog(Retention(1000, 3600)), listener):
            await asyncio.to_thread(over.wait)

    over = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(DEADLINE_S)


@contextlib.contextmanager
def _worker(
    listener: socket.socket, directory: Path, **environment: str
) -> Iterator[tuple[subprocess.Popen[bytes], Board, socket.socket]]:
    """Run a worker whose log is on a thread of this process."""
    board, metrics = make_board(SLOT + 1), make_metrics_memory(SLOT + 1)
    lifeline, theirs = socket.socketpair()
    settings = Settings(workers=SLOT + 1)
    limits = make_shared_limits(settings.workers, settings.max_connections)
    log = make_log_socket()
    descriptors = (
        listener.fileno(),
        board.descriptor,
        limits.descriptor,
        metrics.descriptor,
        log.descriptor,
    )
    with lifeline, _served(log.listener):
        process = subprocess.Popen(
            [*WORKER, *map(str, (SLOT, SLOT + 1, *descriptors))],
            stdin=theirs.fileno(),
            stderr=subprocess.PIPE,
            pass_fds=descriptors,
            env={
                **os.environ,
                "RIPTIDE_DATA_DIR": str(directory / "data"),
                **environment,
            },
        )
        theirs.close()
        with process:
            try:
                yield process, board, lifeline
            finally:
                process.kill()
    os.close(board.descriptor)
    os.close(limits.descriptor)
    os.close(metrics.descriptor)
    log.listener.close()
    os.close(log.descriptor)


def test_a_worker_serves_the_shared_port_and_its_own_metrics_until_its_lifeline_is_cut(
    tmp_path: Path,
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        _worker(listener, tmp_path) as (worker, board, lifeline),
    ):
        wait_until(lambda: board.ports() or worker.poll() is not None)
        port = board.ports()[SLOT]
        shared = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert plain.get(f"{shared}/healthz/ready").status_code == 200
        assert "riptide_build_info" in plain.get(f"{shared}/metrics").text
        assert "riptide_build_info" in plain.get(f"http://127.0.0.1:{port}/metrics").text
        assert plain.post(f"{shared}/topics/a", json=1).json()["ids"]["last"].endswith("-1")
        alive = board.beats(SLOT)
        wait_until(lambda: board.beats(SLOT) > alive)
        lifeline.close()
        _, errors = worker.communicate(timeout=DEADLINE_S)
        assert worker.returncode == 0, errors


def test_a_worker_that_answers_lists_itself_whatever_the_board_says(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        _worker(listener, tmp_path) as (worker, board, _),
    ):
        wait_until(lambda: board.ports() or worker.poll() is not None)
        port = board.ports()[SLOT]
        board.clear(SLOT)
        board.show_port(1, 9001)
        every_target = f"http://127.0.0.1:{listener.getsockname()[1]}/metrics/targets"
        groups = plain.get(every_target).json()
        assert [group["targets"] for group in groups] == [["127.0.0.1:9001"], [f"127.0.0.1:{port}"]]


def test_a_terminal_does_not_stop_a_worker_that_writes_to_it(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        _worker(listener, tmp_path) as (worker, board, _),
    ):
        wait_until(lambda: board.beats(SLOT) or worker.poll() is not None)
        status = Path(f"/proc/{worker.pid}/status").read_text()
        ignored = int(status.partition("SigIgn:")[2].split()[0], 16)
        assert ignored >> (signal.SIGTTOU - 1) & 1


def test_a_worker_that_cannot_start_says_so_by_its_exit_code_and_the_reason_on_its_lifeline(
    tmp_path: Path,
) -> None:
    missing = str(tmp_path / "missing")
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        _worker(listener, tmp_path, RIPTIDE_METRICS_TOKEN_FILE=missing) as (worker, _, lifeline),
    ):
        assert worker.wait(DEADLINE_S) == START_FAILED
        _, errors = worker.communicate()
        assert errors == b""
        assert missing.encode() in lifeline.recv(10_000)


def test_a_worker_that_starts_makes_the_shared_listener_blocking_for_nobody(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        with _worker(listener, tmp_path) as (worker, board, _):
            while not board.ports() and worker.poll() is None:
                assert not os.get_blocking(listener.fileno())
            assert board.ports()
