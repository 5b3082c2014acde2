"""Retention, whatever expires: publishers hardly wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from operations.faulty_disk.disk import WAL, Call, Fault
from tests import plain
from tests.integration.log_faults.publishing import Record
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.faulty_disk import ServiceOnFaultyDisk
    from tests.integration.log_faults.conftest import StartOnFaultyDisk

TOPICS = 300
# How many syncs an append may have to wait for: that of a step of deletions, its own, and those of
# a checkpoint that falls between them.
SYNCS = 8


def _topics_with_messages(service: ServiceOnFaultyDisk) -> int:
    listed = plain.get(f"{service.url}/topics", params={"limit": 1000}).json()["topics"]
    return sum(topic["topic"].startswith("expiring") for topic in listed)


def test_a_publish_waits_for_few_syncs_while_the_messages_of_many_topics_expire_together(
    start_on_faulty_disk: StartOnFaultyDisk,
) -> None:
    service = start_on_faulty_disk()
    record = Record()
    for n in range(TOPICS):
        assert record.publish(service, f"expiring-{n}")
    assert _topics_with_messages(service) == TOPICS
    assert service.stop() == 0
    # All of them are older than that once the service runs again.
    service.settings["RETENTION_SECONDS"] = 0.5
    service.disk.disturb(WAL, Call.SYNC, fault=Fault(delay_s=0.01))
    service.start()
    most = 0

    def expired_while_publishing() -> bool:
        nonlocal most
        before = service.disk.traffic(WAL).calls[Call.SYNC]
        assert record.publish(service, "live")
        most = max(most, service.disk.traffic(WAL).calls[Call.SYNC] - before)
        return _topics_with_messages(service) == 0

    wait_until(expired_while_publishing, "the messages of all topics expire")
    assert most <= SYNCS
