"""The machine that a benchmark runs on, without which its figures mean nothing."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import resource
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Debian's packages of peers.
PACKAGES = ("nginx", "libnginx-mod-nchan", "pushpin", "condure")
DISTRIBUTIONS = (
    "riptide-streaming",
    "opentelemetry-sdk",
    "opentelemetry-instrumentation-asgi",
    "prometheus-client",
    "prometheus-fastapi-instrumentator",
    "starlette",
    "sse-starlette",
    "starlette-exporter",
    "uvicorn",
    "uvloop",
    "httptools",
    "nats-py",
)
CPUINFO = Path("/proc/cpuinfo")


def facts() -> dict[str, object]:
    """Describe the machine."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "open_files_limit": open_files_limit(),
    }


def versions() -> dict[str, str]:
    """Return the versions of what is compared; peers that are not installed are left out."""
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found | _packages()


def open_files_limit() -> int:
    """Return how many files, including sockets, a process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def server_cores() -> set[int]:
    """Return the core for the server: the last one, so not the client's if there are several."""
    cores = sorted(os.sched_getaffinity(0))
    return {cores[-1]}


def client_cores() -> set[int]:
    """Return the core for the load client: the first one."""
    cores = sorted(os.sched_getaffinity(0))
    return {cores[0]}


@contextlib.contextmanager
def pinned_to(cores: set[int]) -> Iterator[None]:
    """Keep this thread, and the processes that it starts in this context, on some cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used so far, in seconds."""
    # The second field is the program's name in brackets, and may hold anything.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def _packages() -> dict[str, str]:
    query = shutil.which("dpkg-query")
    if query is None:
        return {}
    # dpkg-query names packages that are not installed on standard error only.
    answer = subprocess.run(  # noqa: S603  # Debian's own
        [query, "--show", "--showformat=${Package} ${Version}\n", *PACKAGES],
        capture_output=True,
        check=False,
        text=True,
    ).stdout
    return dict(line.split(" ", 1) for line in answer.splitlines())


def _processor() -> str:
    if CPUINFO.exists():
        for line in CPUINFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
