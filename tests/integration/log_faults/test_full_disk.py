"""Disks without room, from the start of the service on: it serves, and publishes once it can."""

from __future__ import annotations

import errno
import signal
from typing import TYPE_CHECKING

import pytest

from operations.faulty_disk.disk import ANY, Call, Fault
from tests.integration.log_faults.publishing import Record, read, readiness
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.faulty_disk import ServiceOnFaultyDisk

NO_ROOM = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG]


@pytest.mark.parametrize("error", NO_ROOM, ids=errno.errorcode.get)
def test_a_service_starts_on_a_full_disk_serves_and_publishes_by_itself_once_there_is_room(
    service: ServiceOnFaultyDisk, error: int
) -> None:
    record = Record()
    assert all(record.publish(service) for _ in range(5))
    assert service.process is not None
    service.process.send_signal(signal.SIGKILL)
    service.process.wait()
    service.disk.disturb(ANY, Call.WRITE, Call.ALLOCATE, fault=Fault(error))
    service.start()
    assert read(service) == record.acknowledged
    assert not record.publish(service)
    assert read(service) == record.acknowledged
    status, checks = readiness(service)
    assert status == 503
    assert checks["log"] != "ok"
    service.disk.heal()
    wait_until(lambda: record.publish(service), lambda: service.log)
    wait_until(lambda: readiness(service)[0] == 200, "the service is ready")
    record.check(read(service))
    service.restart_on_a_sound_disk()
    record.check(read(service))
