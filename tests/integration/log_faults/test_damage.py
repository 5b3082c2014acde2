"""Damaged files: nothing altered is delivered, nothing lost is unreported, others do not suffer."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from operations.faulty_disk.disk import DATABASE, WAL, Call, Fault
from tests import plain
from tests.integration.log_faults.publishing import Record, read, records
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faulty_disk import ServiceOnFaultyDisk

PADDING = "x" * 300
MESSAGES = 60
IMAGES = 12


def _flip(file: Path, at: int, bit: int = 0) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1 << bit
    file.write_bytes(content)


def _published(service: ServiceOnFaultyDisk, topic: str = "a") -> Record:
    record = Record()
    assert all(record.publish(service, topic, PADDING) for _ in range(MESSAGES))
    return record


def _check_what_is_delivered(service: ServiceOnFaultyDisk, topic: str = "a") -> list[int]:
    """Read a topic; every message that comes is whole. Return the numbers."""
    delivered = [record["data"] for record in records(service, topic) if "data" in record]
    for message in delivered:
        assert message[1] == PADDING, "altered, and delivered"
    numbers = [message[0] for message in delivered]
    assert numbers == sorted(set(numbers)), "altered, and delivered"
    return numbers


def _complaints(service: ServiceOnFaultyDisk) -> str:
    """Return the log records that an operator has to see."""
    levels = ("WARNING", "ERROR", "CRITICAL")
    lines = service.log.splitlines()
    return "\n".join(line for line in lines if any(level in line for level in levels))


def test_an_altered_message_is_never_delivered_and_its_consumers_are_told(
    service: ServiceOnFaultyDisk,
) -> None:
    record = _published(service)
    assert service.stop() == 0
    database = service.data / DATABASE
    # A bit of the padding: the message stays JSON.
    at = database.read_bytes().index(b'[30,"xxx') + 20
    _flip(database, at)
    service.start()
    assert _check_what_is_delivered(service) == [n for n in record.acknowledged if n != 30]
    told = [each for each in records(service) if each.get("event") == "gap"]
    assert [each["missed"] for each in told] == [1]
    assert _complaints(service)
    # The consumer goes on behind the message, and others are published.
    assert record.publish(service, padding=PADDING)
    assert _check_what_is_delivered(service)[-1] == MESSAGES


def test_bits_that_flip_between_the_disk_and_the_service_alter_nothing(
    service: ServiceOnFaultyDisk,
) -> None:
    """The files are sound, and what is read from them is not."""
    record = _published(service)
    assert service.stop() == 0
    service.start()
    for at in range(1000, 16_000, 1013):
        # A commit, after which nothing that was read before counts.
        assert record.publish(service, "other")
        flips = service.disk.disturb(DATABASE, Call.READ, fault=Fault(flipped_bit=8 * at))
        answer = plain.get(service.topic("a"), params={"until": "latest"})
        if answer.status_code == 200:
            messages = [line for line in answer.text.splitlines() if '"data"' in line]
            assert all(f'"{PADDING}"' in line for line in messages), "altered, and delivered"
        flips.heal()
    service.restart_on_a_sound_disk()
    assert read(service) == record.acknowledged[:MESSAGES]


def test_what_a_damaged_write_ahead_log_has_lost_is_reported_at_the_start(
    service: ServiceOnFaultyDisk,
) -> None:
    record = _published(service)
    service.kill()
    wal = service.data / WAL
    assert wal.stat().st_size > 0
    _flip(wal, wal.stat().st_size // 2)
    service.restart_on_a_sound_disk()
    delivered = _check_what_is_delivered(service)
    assert set(delivered) <= set(record.acknowledged)
    lost = len(record.acknowledged) - len(delivered)
    assert lost > 0
    assert _complaints(service), f"{lost} acknowledged messages are lost, and nothing is said"


def test_of_images_with_a_flipped_bit_nothing_altered_is_delivered_and_nothing_lost_unreported(
    service: ServiceOnFaultyDisk,
) -> None:
    record = _published(service)
    service.kill()
    chance = random.Random(15)
    files = [service.data / name for name in (DATABASE, WAL)]
    sound = {file: file.read_bytes() for file in files}
    for _ in range(IMAGES):
        for file, content in sound.items():
            file.write_bytes(content)
        (service.data / f"{DATABASE}-shm").unlink(missing_ok=True)
        file = chance.choice(files)
        at, bit = chance.randrange(file.stat().st_size), chance.randrange(8)
        where = f"bit {bit} of byte {at} of {file.name}"
        _flip(file, at, bit)
        try:
            service.start()
        except AssertionError:
            assert "is damaged" in service.log, f"{where}: {service.log}"
            continue
        answer = plain.get(service.topic("a"), params={"until": "latest"})
        if answer.status_code == 200:
            delivered = _check_what_is_delivered(service)
            lost = set(record.acknowledged) - set(delivered)
            assert not lost or _complaints(service), f"{where}: {lost} are lost, and nothing said"
        else:
            assert answer.status_code == 503, where
        service.kill()


def test_a_damaged_topic_does_not_harm_the_others(service: ServiceOnFaultyDisk) -> None:
    healthy, damaged = Record(), Record()
    for _ in range(20):
        assert healthy.publish(service, "a", PADDING)
    for _ in range(100):
        assert damaged.publish(service, "bad", "y" * 1000)
    for _ in range(20):
        assert healthy.publish(service, "z", PADDING)
    assert service.stop() == 0
    _spoil_pages(service.data / DATABASE, b"y" * 1000)
    service.settings["RETENTION_MESSAGES"] = 10
    service.start()
    # Retention goes on, and so do publishers, though the messages of one topic cannot be read.
    for topic in ("a", "z"):
        wait_until(lambda: len(read(service, topic)) == 10, lambda: service.log)  # noqa: B023  # in this turn
        assert healthy.publish(service, topic, PADDING)
    assert _complaints(service)
    assert set(healthy.acknowledged[-2:]) <= {*read(service, "a"), *read(service, "z")}


def _spoil_pages(file: Path, content: bytes) -> None:
    """Make the pages with this content, and nothing else that matters, no pages of a table."""
    pages = bytearray(file.read_bytes())
    size = int.from_bytes(pages[16:18], "big")
    spoilt = 0
    for start in range(size, len(pages), size):
        page = pages[start : start + size]
        if page.count(content) >= 2 and b"x" * 300 not in page:
            pages[start] = 0xFF
            spoilt += 1
    assert spoilt
    file.write_bytes(pages)
