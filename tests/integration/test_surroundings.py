"""Surroundings in which a program may be started, and in which the service serves all the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests import plain
from tests.programs import require_namespaces
from tests.service import RIPTIDE, Service
from tests.waiting import wait_until
from tests.worker_processes import targets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WORKERS = pytest.mark.parametrize("workers", [1, 2])
# Modules of the standard library and ours, by which a program that imports from its current
# directory would fail.
STRANGERS = ("riptide", "socket", "signal", "selectors", "mmap")
READ_ONLY = 'mount --bind "{0}" "{0}" && mount -o remount,bind,ro "{0}"'


class SilentService(Service):
    """A service that is not heard, and serves once it answers."""

    def _serving(self) -> re.Match[str] | None:
        assert self.process is None or self.process.poll() is None, self.log
        url = f"http://127.0.0.1:{self.settings['PORT']}"
        try:
            ready = plain.get(f"{url}/healthz/ready").status_code == 200
        except httpx2.TransportError:
            return None
        return re.fullmatch("(.*)", url) if ready else None


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., SilentService]]:
    services: list[SilentService] = []

    def start(workers: int, *command: str | Path) -> SilentService:
        directory = tmp_path / "service"
        directory.mkdir(exist_ok=True)
        service = SilentService(directory, {"log": "memory", "workers": workers})
        service.command = command
        services.append(service)
        service.start()
        wait_until(lambda: len(targets(service)) == workers)
        return service

    yield start
    for service in services:
        if service.process is not None and service.process.poll() is None:
            service.kill()
        assert "Traceback" not in service.log


@WORKERS
@pytest.mark.parametrize("closed", ["0", "1 2", "0 1 2"])
def test_a_service_without_standard_streams_serves_and_ends_at_the_signal(
    serve: Callable[..., SilentService], topic: str, closed: str, workers: int
) -> None:
    closing = " ".join(f"{descriptor}>&-" for descriptor in closed.split())
    service = serve(workers, "sh", "-c", f'exec "$0" serve {closing}', RIPTIDE)
    service.publish(topic, "message")
    streams = [Path(f"/proc/{service.pid}/fd/{descriptor}") for descriptor in closed.split()]
    assert {str(stream.readlink()) for stream in streams} == {"/dev/null"}
    assert service.stop() == 0


@WORKERS
def test_a_service_whose_current_directory_is_gone_serves(
    serve: Callable[..., SilentService], tmp_path: Path, topic: str, workers: int
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = 'cd "$1" && rmdir "$1" && exec "$0" serve'
    service = serve(workers, "sh", "-c", command, RIPTIDE, gone)
    service.publish(topic, "message")
    assert service.stop() == 0


@WORKERS
def test_modules_that_lie_in_the_current_directory_are_not_imported(
    serve: Callable[..., SilentService], tmp_path: Path, topic: str, workers: int
) -> None:
    (tmp_path / "service").mkdir()
    for name in STRANGERS:
        (tmp_path / "service" / f"{name}.py").write_text("raise SystemExit('a stranger')")
    service = serve(workers, RIPTIDE, "serve")
    service.publish(topic, "message")
    assert service.stop() == 0


@WORKERS
def test_a_service_without_a_directory_for_temporary_files_serves(
    serve: Callable[..., SilentService],
    tmp_path: Path,
    topic: str,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
) -> None:
    unshare = require_namespaces("--mount")
    monkeypatch.setenv("TMPDIR", "/nonexistent")
    read_only = " && ".join(READ_ONLY.format(each) for each in ("/tmp", "/var/tmp", tmp_path))  # noqa: S108  # what Python tries
    command = f'{read_only} && cd "$1" && exec "$0" serve'
    service = serve(workers, unshare, "--mount", "sh", "-c", command, RIPTIDE, tmp_path)
    service.publish(topic, "message")
    assert service.stop() == 0
