"""The write-ahead log cannot be moved to the database: that is said, bounded, and heals."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING

import pytest

from operations.faulty_disk.disk import DATABASE, WAL, Call, Fault
from tests.integration.log_faults.publishing import Record, read, readiness, soon
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.faulty_disk import ServiceOnFaultyDisk

MEGABYTE = 1024 * 1024
# The most that the write-ahead log may grow to.
BOUND_BYTES = 300 * MEGABYTE
# What it may keep when there is nothing left to be moved.
REST_BYTES = 8 * MEGABYTE
PADDING = "x" * 1_000_000
FAULTS = {
    "failed-write": (Call.WRITE, Fault(errno.EIO)),
    "write-without-room": (Call.WRITE, Fault(errno.ENOSPC)),
    "torn-write": (Call.WRITE, Fault(errno.EIO, part_bytes=1000)),
    "failed-sync": (Call.SYNC, Fault(errno.EIO)),
}


def _wal_bytes(service: ServiceOnFaultyDisk) -> int:
    return (service.data / WAL).stat().st_size


def _is_said(service: ServiceOnFaultyDisk) -> bool:
    return re.search("checkpoint|write-ahead log", service.log) is not None


@pytest.mark.parametrize(("call", "fault"), FAULTS.values(), ids=FAULTS)
def test_a_checkpoint_that_fails_is_said_and_nothing_is_lost(
    service: ServiceOnFaultyDisk, call: Call, fault: Fault
) -> None:
    record = Record()
    service.disk.disturb(DATABASE, call, fault=fault)
    for _ in range(20):
        record.publish(service, padding=PADDING)
    soon(lambda: _is_said(service), lambda: service.log)
    service.disk.heal()
    wait_until(lambda: record.publish(service), lambda: service.log)
    wait_until(lambda: readiness(service)[0] == 200, "the service is ready")
    record.check(read(service))
    service.restart_on_a_sound_disk()
    record.check(read(service))


def test_while_checkpoints_fail_publishes_are_refused_before_the_write_ahead_log_is_too_large(
    service: ServiceOnFaultyDisk,
) -> None:
    record = Record()
    service.disk.disturb(DATABASE, Call.WRITE, fault=Fault(errno.EIO))
    while record.publish(service, padding=PADDING):
        assert _wal_bytes(service) <= BOUND_BYTES
    assert _wal_bytes(service) <= BOUND_BYTES
    assert readiness(service)[0] == 503
    service.disk.heal()
    wait_until(lambda: record.publish(service), lambda: service.log)
    wait_until(lambda: readiness(service)[0] == 200, "the service is ready")
    record.check(read(service))


def test_the_room_of_a_busy_time_is_given_back_while_the_service_runs(
    service: ServiceOnFaultyDisk,
) -> None:
    record = Record()
    # Until then, the write-ahead log can only grow.
    slow = service.disk.disturb(DATABASE, Call.WRITE, fault=Fault(errno.EIO))
    while record.publish(service, padding=PADDING) and len(record.acknowledged) < 40:
        pass
    assert _wal_bytes(service) > REST_BYTES
    slow.heal()
    soon(lambda: record.publish(service), lambda: service.log)
    soon(lambda: _wal_bytes(service) <= REST_BYTES, lambda: _wal_bytes(service))


def test_a_database_that_cannot_be_truncated_harms_nobody(service: ServiceOnFaultyDisk) -> None:
    record = Record()
    service.disk.disturb("riptide.db*", Call.TRUNCATE, fault=Fault(errno.EIO))
    for _ in range(20):
        assert record.publish(service, padding=PADDING)
    assert readiness(service)[0] == 200
    assert read(service) == record.acknowledged
