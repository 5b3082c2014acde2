"""A real service whose files are moved, removed or replaced, or used by a second service."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import plain
from tests.service import RIPTIDE
from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import StartService
    from tests.service import Service

JSON = {"Content-Type": "application/json"}


def _rename(data: Path) -> None:
    data.rename(data.with_name("moved"))


def _remove(data: Path) -> None:
    shutil.rmtree(data)


def _replace(data: Path) -> None:
    _rename(data)
    shutil.copytree(data.with_name("moved"), data)


def _remove_wal(data: Path) -> None:
    (data / "riptide.db-wal").unlink()


def _remove_database(data: Path) -> None:
    (data / "riptide.db").unlink()


def _data(service: Service) -> Path:
    return service.directory / "data"


def _run(data: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if "RIPTIDE_" not in name}
    environment["RIPTIDE_DATA_DIR"] = str(data)
    return subprocess.run(
        [RIPTIDE, *arguments],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )


def _publish(service: Service, number: int) -> bool:
    answer = plain.post(service.topic("a"), content=b"%d" % number, headers=JSON)
    assert answer.status_code in {202, 503}, answer.text
    if answer.status_code == 503:
        assert answer.json()["type"] == "urn:riptide:problem:log-unavailable"
        assert str(service.directory) not in answer.text, "paths are for operators"
    return answer.status_code == 202


def _read(service: Service) -> list[int]:
    lines = plain.get(service.topic("a"), params={"until": "latest"}).text.splitlines()
    return [int(line.rpartition('"data":')[2].rstrip("}")) for line in lines if '"data"' in line]


def _readiness(service: Service) -> str:
    answer = plain.get(f"{service.url}/healthz/ready")
    assert answer.status_code == (200 if answer.json()["log"] == "ok" else 503)
    return str(answer.json()["log"])


@pytest.mark.parametrize(
    "deed",
    [_rename, _remove, _replace, _remove_wal, _remove_database],
    ids=lambda deed: deed.__name__[1:],
)
def test_nothing_is_acknowledged_into_files_that_nobody_will_find(
    start_service: StartService, deed: Callable[[Path], None]
) -> None:
    """Readiness says why, one record too, and a backup is refused; consumers are served on."""
    service = start_service()
    assert [_publish(service, number) for number in range(3)] == [True] * 3
    deed(_data(service))
    wait_until(lambda: _readiness(service) != "ok", "readiness tells though nobody publishes")
    assert "removed" in _readiness(service) or "another is in its place" in _readiness(service)
    assert not any(_publish(service, number) for number in range(3, 6))
    assert _read(service) == [0, 1, 2]
    assert service.metric("riptide_streaming_messages_published_total", outcome="log_failure") == 3
    assert service.log.count("messages are refused, because they would be lost") == 1
    backup = service.directory / "backup"
    done = _run(_data(service), "backup", backup)
    if deed is _replace:
        # A copy that nobody uses, and that has everything.
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert not backup.exists()
    assert service.stop() == 0
    assert "Traceback" not in service.log


def test_a_directory_that_is_moved_back_is_used_again_by_itself(
    start_service: StartService,
) -> None:
    service = start_service()
    assert _publish(service, 1)
    _rename(_data(service))
    assert not _publish(service, 2)
    _data(service).with_name("moved").rename(_data(service))
    wait_until(lambda: _readiness(service) == "ok", "readiness tells though nobody publishes")
    assert _publish(service, 3)
    service.kill()
    assert _read(service.start()) == [1, 3]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_loss_of_the_write_ahead_log_loses_nothing_that_was_acknowledged(
    start_service: StartService, number: signal.Signals
) -> None:
    service = start_service()
    assert [_publish(service, number) for number in range(10)] == [True] * 10
    _remove_wal(_data(service))
    wait_until(lambda: _readiness(service) != "ok")
    service.stop() if number == signal.SIGTERM else service.kill()
    service.start()
    assert _read(service) == list(range(10))
    assert _publish(service, 10)


@pytest.mark.parametrize("way", ["lock file deleted", "hard link", "link", "mount"])
def test_a_second_service_is_refused_the_same_database(
    start_service: StartService, tmp_path: Path, way: str
) -> None:
    service = start_service()
    data, other = _data(service), tmp_path / "other"
    assert _publish(service, 1)
    (data / "riptide.lock").unlink()
    command: list[str | Path] = [RIPTIDE, "serve"]
    if way == "lock file deleted":
        other = data
    else:
        other.mkdir()
    if way == "hard link":
        (other / "riptide.db").hardlink_to(data / "riptide.db")
    elif way == "link":
        (other / "riptide.db").symlink_to(data / "riptide.db")
    elif way == "mount":
        mount = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"']
        command = [*mount, data, other, *command]
        if subprocess.run([*mount, data, other, "true"], check=False).returncode:
            pytest.skip("this user may not mount a directory in another place")
    environment = {"PATH": os.environ["PATH"], "RIPTIDE_DATA_DIR": str(other), "RIPTIDE_PORT": "0"}
    second = subprocess.run(
        command,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert second.returncode != 0
    assert "in use by another Riptide process" in second.stderr
    assert _publish(service, 2)
    assert _read(service) == [1, 2]
