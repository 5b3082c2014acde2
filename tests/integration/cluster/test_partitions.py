"""What servers send to an instance vanishes under load: nothing is lost, and nothing comes twice.

More faults of the network: ``python -m benchmarks.endurance cluster``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.endurance.cluster import network
from tests.programs import require, require_namespaces, require_nats_server

ROOT = Path(__file__).parents[3]
FAULT = "servers → instance dropped, 30 s"


def test_a_network_that_loses_messages_in_one_direction_loses_none_of_publishers() -> None:
    require_namespaces(*network.UNSHARE[1:])
    for program in ("ip", "nsenter", "cc"):
        require(program)
    require_nats_server()
    command = [sys.executable, "-m", "benchmarks.endurance", "cluster", "--fault", FAULT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"| {FAULT} |" in done.stdout
