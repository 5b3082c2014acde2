"""One worker by itself, started as the supervisor starts it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from riptide.endpoints.metrics_targets import MetricsTargets
from riptide.workers.worker import START_FAILED
from tests import plain
from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path


WORKER = (sys.executable, "-m", "riptide.workers.worker")


def _start(listener: socket.socket, directory: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*WORKER, "3", str(listener.fileno()), str(directory)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[listener.fileno()],
        env={**os.environ, "RIPTIDE_DATA_DIR": str(directory / "data")},
    )


def test_a_worker_serves_the_shared_port_and_its_own_metrics_until_its_input_ends(
    tmp_path: Path,
) -> None:
    targets = MetricsTargets(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        worker = _start(listener, tmp_path)
        groups = wait_until(lambda: targets.discover("127.0.0.1") or worker.poll() is not None)
        assert isinstance(groups, list)
        (target,) = groups[0]["targets"]
        shared = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert plain.get(f"{shared}/healthz/ready").status_code == 200
        assert plain.get(f"{shared}/metrics").status_code == 421
        assert "riptide_build_info" in plain.get(f"http://{target}/metrics").text
        assert (tmp_path / "data" / "worker-3" / "riptide.db").exists()
        _, errors = worker.communicate(timeout=DEADLINE_S)
    assert worker.returncode == 0, errors


def test_a_worker_that_cannot_start_says_so_by_its_exit_code(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a directory")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        worker = _start(listener, tmp_path)
        assert worker.wait(DEADLINE_S) == START_FAILED
        _, errors = worker.communicate()
    assert errors.startswith(b"riptide: ")
    assert errors.count(b"\n") == 1
