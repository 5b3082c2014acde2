"""A disk that hangs while the service starts or ends: the process tells it, and is not stuck."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import httpx2

from operations.faulty_disk.disk import ANY, HANG, WAL, Call
from tests import plain
from tests.integration.log_faults.publishing import Record, read
from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from tests.faulty_disk import ServiceOnFaultyDisk


def test_a_service_whose_log_takes_long_to_open_is_live_and_not_ready(
    service: ServiceOnFaultyDisk,
) -> None:
    record = Record()
    assert record.publish(service)
    assert service.stop() == 0
    hang = service.disk.disturb(ANY, Call.SYNC, fault=HANG)
    service.begin()

    def is_live() -> bool:
        try:
            return plain.get(f"{service.url}/healthz/live").status_code == 200
        except httpx2.TransportError:
            return False

    wait_until(is_live, lambda: service.log)
    assert hang.waiting
    answer = plain.get(f"{service.url}/healthz/ready")
    assert (answer.status_code, answer.json()["log"]) == (503, "failing: it is being opened")
    assert not record.publish(service)
    service.disk.heal()
    wait_until(lambda: service.serves, lambda: service.log)
    assert record.publish(service)
    record.check(read(service))


def test_a_service_that_is_to_end_while_its_disk_hangs_ends(service: ServiceOnFaultyDisk) -> None:
    record = Record()
    assert record.publish(service)
    hang = service.disk.disturb(WAL, Call.SYNC, fault=HANG)
    publishing = threading.Thread(target=record.publish, args=[service])
    publishing.start()
    wait_until(lambda: hang.waiting, lambda: service.log)
    assert service.process is not None
    service.process.send_signal(signal.SIGTERM)
    service.process.wait(DEADLINE_S)
    publishing.join()
    assert "the log's disk hangs" in service.log
    service.restart_on_a_sound_disk()
    record.check(read(service))
    assert len(record.acknowledged) == 1
