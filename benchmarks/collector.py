"""Destinations of telemetry for a service under load: a Collector that works, fails or is gone."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import machine
from benchmarks.service import HOST
from operations.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONFIGURATION = Path(__file__).parents[1] / "otel-collector" / "agent.yaml"
START_DEADLINE_S = 120.0


class Destination(NamedTuple):
    """An address for OTLP by gRPC, and a function to call in the middle of the load."""

    endpoint: str
    halfway: Callable[[], object]


@contextlib.contextmanager
def well() -> Iterator[Destination]:
    """Run a Collector that accepts everything and discards it."""
    with _collector() as (endpoint, _):
        yield Destination(endpoint, _nothing)


@contextlib.contextmanager
def killed() -> Iterator[Destination]:
    """Run a Collector that is killed in the middle of the load."""
    with _collector() as (endpoint, process):
        yield Destination(endpoint, process.kill)


@contextlib.contextmanager
def absent() -> Iterator[Destination]:
    """Yield an address where nobody listens."""
    yield Destination(f"http://{HOST}:{free_port()}", _nothing)


@contextlib.contextmanager
def hung() -> Iterator[Destination]:
    """Yield an address where the kernel accepts connections that nobody reads."""
    with socket.create_server((HOST, 0), backlog=1024) as listening:
        yield Destination(f"http://{HOST}:{listening.getsockname()[1]}", _nothing)


def _nothing() -> None:
    pass


@contextlib.contextmanager
def _collector() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    ports = {name: f"{HOST}:{free_port()}" for name in ("GRPC", "HTTP", "PROMETHEUS", "HEALTH")}
    environment = {f"OTELCOL_{name}_ENDPOINT": address for name, address in ports.items()} | {
        "OTELCOL_TELEMETRY_PORT": str(free_port()),
        "OTELCOL_TRACES_TO": "[debug]",
        "OTELCOL_LOGS_TO": "[debug]",
    }
    with machine.pinned_to(machine.client_cores()):
        process = subprocess.Popen(  # noqa: S603  # a Collector
            [_program(), f"--config={CONFIGURATION}"],
            env=os.environ | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    try:
        _wait_until_ready(process, f"http://{ports['HEALTH']}/")
        yield f"http://{ports['GRPC']}", process
    finally:
        process.kill()
        process.wait()


def _program() -> str:
    """Return the path of a Collector: that of ``make collector``, or any on the PATH.

    Raises:
        RuntimeError: there is no Collector.

    """
    beside = shutil.which("otelcol-riptide", path=str(Path(sys.executable).parent))
    program = beside or shutil.which("otelcol-contrib") or shutil.which("otelcol")
    if program is None:
        raise RuntimeError("there is no OpenTelemetry Collector: run make collector where Go is")
    return program


def _wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.URLError), direct.open(url):
            return
        time.sleep(0.05)
    raise RuntimeError("the Collector did not start")
