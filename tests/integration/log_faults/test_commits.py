"""Commits that fail: what publishers are told is what consumers get, whatever happens next."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from operations.faulty_disk.disk import HANG, WAL, Call, Fault
from tests.integration.log_faults.publishing import (
    MAYBE,
    SOON_S,
    Record,
    publish_again,
    read,
    readiness,
)
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.faulty_disk import ServiceOnFaultyDisk

SYNC_FAULTS = {
    "failed-sync": (Call.SYNC, Fault(errno.EIO)),
    "sync-without-room": (Call.SYNC, Fault(errno.ENOSPC)),
    "sync-over-quota": (Call.SYNC, Fault(errno.EDQUOT)),
}
WRITE_FAULTS = {
    "failed-write": (Call.WRITE, Fault(errno.EIO)),
    "write-without-room": (Call.WRITE, Fault(errno.ENOSPC)),
    "write-over-quota": (Call.WRITE, Fault(errno.EDQUOT)),
    "write-over-limit": (Call.WRITE, Fault(errno.EFBIG)),
    "read-only": (Call.WRITE, Fault(errno.EROFS)),
    "torn-write": (Call.WRITE, Fault(errno.EIO, part_bytes=1000)),
    "torn-full-disk": (Call.WRITE, Fault(errno.ENOSPC, part_bytes=1000)),
    "device-gone": (Call.WRITE, Fault(errno.ENODEV)),
}
FAULTS = SYNC_FAULTS | WRITE_FAULTS


@pytest.mark.parametrize(("call", "fault"), FAULTS.values(), ids=FAULTS)
def test_after_a_failed_commit_and_sigkill_only_what_was_said_is_there(
    service: ServiceOnFaultyDisk, call: Call, fault: Fault
) -> None:
    record = Record()
    assert all(record.publish(service) for _ in range(3))
    service.disk.disturb(WAL, call, fault=fault)
    for _ in range(3):
        # The process may end after the first one, to recover what is on the disk.
        if service.is_running:
            record.publish(service)
    assert len(record.acknowledged) == 3
    service.restart_on_a_sound_disk()
    record.check(read(service))
    assert record.publish(service)
    record.check(read(service))


@pytest.mark.parametrize(("call", "fault"), FAULTS.values(), ids=FAULTS)
def test_once_the_fault_is_over_the_service_publishes_by_itself_and_keeps_its_word(
    service: ServiceOnFaultyDisk, call: Call, fault: Fault
) -> None:
    record = Record()
    assert record.publish(service)
    service.disk.disturb(WAL, call, fault=fault)
    record.publish(service)
    service.disk.heal()
    publish_again(record, service)
    assert all(record.publish(service) for _ in range(3))
    record.check(read(service))
    assert readiness(service)[0] == 200
    service.restart_on_a_sound_disk()
    record.check(read(service))


def test_while_a_sync_hangs_publishes_are_answered_within_seconds_and_nothing_is_acknowledged(
    service: ServiceOnFaultyDisk,
) -> None:
    record = Record()
    assert record.publish(service)
    hang = service.disk.disturb(WAL, Call.SYNC, fault=HANG)
    with ThreadPoolExecutor() as publishers:
        answers = [publishers.submit(record.publish, service) for _ in range(3)]
        try:
            hang.wait_for_hits()
            assert [answer.result(SOON_S) for answer in answers] == [False] * 3
            # Also a publisher that comes when it is known already.
            assert publishers.submit(record.publish, service).result(SOON_S) is False
            assert any(MAYBE in text for text in record.texts)
            assert readiness(service)[0] == 503
        finally:
            service.disk.heal()
    publish_again(record, service)
    wait_until(lambda: readiness(service)[0] == 200, "the service is ready")
    record.check(read(service))
    service.restart_on_a_sound_disk()
    record.check(read(service))


def test_no_message_is_acknowledged_or_delivered_before_its_sync(
    service: ServiceOnFaultyDisk,
) -> None:
    record = Record()
    assert record.publish(service)
    hang = service.disk.disturb(WAL, Call.SYNC, fault=HANG)
    with ThreadPoolExecutor() as publishers:
        answer = publishers.submit(record.publish, service)
        try:
            hang.wait_for_hits()
            assert not answer.done() or answer.result() is False
            assert read(service) == [0]
        finally:
            service.disk.heal()
        answer.result()
    record.check(read(service))


def test_a_slow_disk_loses_nothing_and_many_publishers_share_its_syncs(
    service: ServiceOnFaultyDisk,
) -> None:
    record = Record()
    assert record.publish(service)
    before = service.disk.traffic(WAL).calls[Call.SYNC]
    service.disk.disturb(WAL, Call.SYNC, fault=Fault(delay_s=0.2))
    with ThreadPoolExecutor(20) as publishers:
        answers = [publishers.submit(record.publish, service) for _ in range(20)]
        assert all(answer.result() for answer in answers)
    assert service.disk.traffic(WAL).calls[Call.SYNC] - before <= 10
    assert sorted(read(service)) == sorted(record.acknowledged)


def test_a_short_write_is_no_fault(service: ServiceOnFaultyDisk) -> None:
    record = Record()
    service.disk.disturb(WAL, Call.WRITE, fault=Fault(part_bytes=1000))
    assert all(record.publish(service, padding="x" * 50_000) for _ in range(5))
    service.restart_on_a_sound_disk()
    assert read(service) == record.acknowledged
