"""The worker processes of a real service, seen from outside."""

from __future__ import annotations

import contextlib
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from tests import plain
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.service import Service


def targets(service: Service) -> list[str]:
    """Return the addresses of the workers' metrics, as any worker lists them."""
    answer = wait_until(lambda: _asked_for_targets(service))
    assert answer.headers["content-type"] == "application/json"
    groups: list[dict[str, Any]] = answer.json()
    assert groups, "a worker that answers is alive"
    return [target for group in groups for target in group["targets"]]


def _asked_for_targets(service: Service) -> httpx2.Response | None:
    # A worker that is being opened knows nothing yet, and then may cut a connection off.
    with contextlib.suppress(httpx2.TransportError):
        answer = plain.get(f"{service.url}/metrics/targets")
        return None if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE else answer
    return None


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def log_process_of(supervisor: int) -> int:
    """Return the child of the supervisor that keeps the log."""
    return next(
        child
        for child in children(supervisor)
        if b"riptide.workers.log_process" in Path(f"/proc/{child}/cmdline").read_bytes()
    )


def worker_of(supervisor: int, target: str) -> int:
    """Return the process of a worker: the child of the supervisor that listens on its port."""
    port = f":{int(target.rpartition(':')[2]):04X}"
    sockets = {
        fields[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if (fields := line.split())[1].endswith(port) and fields[3] == "0A"
    }
    for child in children(supervisor):
        for descriptor in Path(f"/proc/{child}/fd").iterdir():
            with contextlib.suppress(OSError):
                if str(descriptor.readlink()).strip("socket:[]") in sockets:
                    return child
    raise AssertionError(f"nobody listens on {target}")
