"""The server programs that benchmarks put under load, in processes on a core of their own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks import machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

START_DEADLINE_S = 120.0
STOP_DEADLINE_S = 120.0
SERVING = re.compile(r"(?:serving on|running on) http://127\.0\.0\.1:(\d+)")
HOST = "127.0.0.1"


class Server(NamedTuple):
    """A server that accepts connections."""

    port: int
    pid: int
    stdin: Any
    stdout: Any


@contextlib.contextmanager
def running(
    arguments: Sequence[str], environment: dict[str, str], python: Path = Path(sys.executable)
) -> Iterator[Server]:
    """Run a Python program within this context, from when it says on standard error that it serves.

    ``python`` may be that of another version of the service.

    Raises:
        RuntimeError: the program did not start in time.

    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RIPTIDE", "OTEL"))
    }
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "log")
        with log.open("wb") as stderr, machine.pinned_to(machine.server_cores()):
            process = subprocess.Popen(  # noqa: S603  # a program of this repository
                [python, *arguments],
                env=inherited | environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        try:
            port = wait_for_port(process, log)
            yield Server(port, process.pid, process.stdin, process.stdout)
        finally:
            _end(process)


@contextlib.contextmanager
def riptide(*, telemetry: bool = True, **settings: object) -> Iterator[Server]:
    """Run ``riptide serve`` with a log in memory; ``ring_bytes=…`` sets RIPTIDE_RING_BYTES."""
    with running(
        ["-m", "riptide.cli", "serve"], environment_of(telemetry=telemetry, **settings)
    ) as server:
        yield server


def environment_of(*, telemetry: bool = True, **settings: object) -> dict[str, str]:
    """Return the variables of a service for benchmarks: any port, a log in memory."""
    # No heartbeats among what is measured, and no drain at the end.
    chosen = {"port": 0, "log": "memory", "heartbeat_seconds": 3600, "drain_seconds": 0}
    environment = {
        f"RIPTIDE_{name.upper()}": str(value) for name, value in (chosen | settings).items()
    }
    return environment if telemetry else environment | {"OTEL_SDK_DISABLED": "true"}


def wait_for_port(process: subprocess.Popen[bytes], log: Path) -> int:
    """Wait until a program says in its log where it serves, and return the port.

    Raises:
        RuntimeError: the program did not start in time.

    """
    deadline = time.monotonic() + START_DEADLINE_S
    while (match := SERVING.search(log.read_text())) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the server did not start: {log.read_text()}")
        time.sleep(0.02)
    return int(match[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    for stop in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(stop)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_DEADLINE_S)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
