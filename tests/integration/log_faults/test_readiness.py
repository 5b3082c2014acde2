"""A disk that fails makes the service unready though nobody uses it, and ready again by itself."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from operations.faulty_disk.disk import ANY, DATABASE, HANG, IO_ERROR, WAL, Call, Fault
from tests import plain
from tests.integration.log_faults.publishing import Record, read, readiness, soon
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.faulty_disk import ServiceOnFaultyDisk


@pytest.mark.parametrize(
    ("pattern", "call", "fault"),
    [
        pytest.param(ANY, Call.READ, IO_ERROR, id="reads-fail"),
        pytest.param(ANY, Call.READ, HANG, id="reads-hang"),
        pytest.param(WAL, Call.WRITE, IO_ERROR, id="writes-fail"),
        pytest.param(WAL, Call.WRITE, HANG, id="writes-hang"),
        pytest.param(WAL, Call.WRITE, Fault(errno.EROFS), id="read-only"),
        pytest.param(WAL, Call.SYNC, IO_ERROR, id="syncs-fail"),
        pytest.param(WAL, Call.SYNC, HANG, id="syncs-hang"),
    ],
)
def test_a_bad_disk_makes_a_service_unready_that_nobody_uses(
    service: ServiceOnFaultyDisk, pattern: str, call: Call, fault: Fault
) -> None:
    record = Record()
    assert record.publish(service)
    service.disk.disturb(pattern, call, fault=fault)
    soon(lambda: readiness(service)[0] == 503, lambda: readiness(service)[1])
    assert readiness(service)[1]["log"] != "ok"
    assert plain.get(f"{service.url}/healthz/live").status_code == 200
    service.disk.heal()

    def is_ready() -> bool:
        service.revive()
        return readiness(service)[0] == 200

    wait_until(is_ready, lambda: service.log)
    assert record.publish(service)
    record.check(read(service))


def test_a_read_that_fails_ends_the_stream_and_says_so(service: ServiceOnFaultyDisk) -> None:
    record = Record()
    while len(record.acknowledged) < 20:
        assert record.publish(service, padding="x" * 1_000_000)
    # What a commit has not left in the memory of the reader has to come from the disk.
    assert service.stop() == 0
    service.start()
    service.disk.disturb(DATABASE, Call.READ, fault=Fault(errno.EIO), after=50)
    answer = plain.get(service.topic("a"), params={"until": "latest"})
    if answer.status_code == 200:
        assert '"log_failure"' in answer.text.splitlines()[-1]
    else:
        assert answer.status_code == 503
        assert "cannot be read" in answer.json()["detail"]
    service.disk.heal()
    assert read(service) == record.acknowledged
