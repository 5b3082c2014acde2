"""The supervisor, with real workers; what they serve is tested in integration/test_workers.py."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from riptide.errors import StartError
from riptide.workers.supervisor import Supervisor
from riptide.workers.worker import START_FAILED
from tests.service import RIPTIDE
from tests.waiting import DEADLINE_S

if TYPE_CHECKING:
    from pathlib import Path


def _serve(directory: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if "RIPTIDE" not in name}
    environment |= {f"RIPTIDE_{name.upper()}": str(value) for name, value in settings.items()}
    return subprocess.run(
        [RIPTIDE, "serve"],
        env=environment,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def test_a_worker_that_cannot_start_ends_the_service_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    done = _serve(tmp_path, port=0, workers=2, data_dir=tmp_path / "file" / "data")
    assert done.returncode == 1
    assert "RIPTIDE_DATA_DIR" in done.stderr
    assert "Traceback" not in done.stderr


def test_workers_that_end_together_are_all_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = Supervisor(0, tmp_path, 3)

    def start(slot: int) -> None:
        worker = subprocess.Popen(
            [sys.executable, "-c", f"raise SystemExit({START_FAILED})"], stdin=subprocess.PIPE
        )
        # Every one has ended before the first is heard of.
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
        supervisor._workers[worker.pid] = (slot, worker)

    monkeypatch.setattr(supervisor, "_start", start)
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    try:
        with pytest.raises(StartError, match="a worker could not start"):
            supervisor.run()
    finally:
        for each, handler in zip((signal.SIGTERM, signal.SIGINT), handlers, strict=True):
            signal.signal(each, handler)


def test_a_port_in_use_is_named_before_any_worker_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = _serve(tmp_path, port=taken.getsockname()[1], workers=2, log="memory")
    assert done.returncode == 1
    assert "RIPTIDE_PORT" in done.stderr
    assert "drain" not in done.stderr
