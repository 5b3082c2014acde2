"""A real service whose log has no room left: a full disk, and files that may grow no more."""

from __future__ import annotations

import re
import resource
import signal
from typing import TYPE_CHECKING

import orjson
import pytest

from tests import plain
from tests.small_disk import fill, mounted
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from operations.drill.small_disk import SmallDisk
    from tests.conftest import StartService
    from tests.service import Service

MEGABYTE = 1024 * 1024
MESSAGE = orjson.dumps("x" * 50_000)
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted(tmp_path / "disk", 16 * MEGABYTE) as disk:
        yield disk


def _publish(service: Service, message: bytes = MESSAGE) -> bool:
    answer = plain.post(f"{service.url}/topics/a", content=message, headers=JSON)
    assert answer.status_code in {202, 503}, answer.text
    if answer.status_code == 503:
        assert answer.json()["type"] == "urn:riptide:problem:log-unavailable"
        assert answer.headers["Retry-After"]
    return answer.status_code == 202


def _publish_until_refused(service: Service) -> int:
    for count in range(1000):
        if not _publish(service):
            return count
    raise AssertionError("the log takes everything")


def _read(service: Service) -> int:
    answer = plain.get(f"{service.url}/topics/a?until=latest")
    return len(re.findall('"x{50000}"', answer.text))


def _value(service: Service, name: str) -> float:
    text = plain.get(f"{service.url}/metrics").text
    match = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert match is not None, name
    return float(match[1])


def test_a_full_disk_shows_in_health_and_readiness_and_its_messages_are_served_after_a_restart(
    disk: SmallDisk, start_service: StartService
) -> None:
    service = start_service(data_dir=disk.directory)
    count = _publish_until_refused(service)
    assert count > 100
    failed = 'riptide_streaming_messages_published_total{outcome="log_failure"}'
    assert _value(service, failed) == 1
    assert _value(service, "riptide_streaming_health_ratio") == pytest.approx(count / (count + 1))
    assert _value(service, "riptide_streaming_error_rate") == 0
    assert "the disk is full" in plain.get(f"{service.url}/healthz/ready").json()["log"]
    for number in (signal.SIGTERM, signal.SIGKILL):
        service.stop() if number == signal.SIGTERM else service.kill()
        filler = fill(disk)
        service.start()
        assert _read(service) == count
        assert not _publish(service)
        filler.unlink()
    disk.resize(32 * MEGABYTE)
    wait_until(lambda: _publish(service), "the service publishes by itself once there is room")
    assert _read(service) == count + 1
    assert plain.get(f"{service.url}/healthz/ready").status_code == 200


def test_a_full_disk_takes_messages_again_after_a_start_with_a_lower_retention(
    disk: SmallDisk, start_service: StartService
) -> None:
    service = start_service(data_dir=disk.directory)
    count = _publish_until_refused(service)
    service.stop()
    service.settings["RETENTION_MESSAGES"] = 10
    service.start()
    for _ in range(count):
        wait_until(lambda: _publish(service), "the service publishes again")


def test_files_that_may_grow_no_more_are_a_full_disk_until_they_may(
    start_service: StartService,
) -> None:
    service = start_service()
    assert _publish(service)
    unlimited = resource.prlimit(service.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (4 * MEGABYTE, unlimited[1]))
    count = 1 + _publish_until_refused(service)
    assert _read(service) == count
    assert _value(service, "riptide_streaming_health_ratio") < 1
    resource.prlimit(service.pid, resource.RLIMIT_FSIZE, unlimited)
    wait_until(lambda: _publish(service), "the service publishes again")
    assert _read(service) == count + 1
