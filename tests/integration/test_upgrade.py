"""The log of the version before this one, whose upgrade is killed again and again."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time
from typing import TYPE_CHECKING

import orjson
import pytest

from riptide.storage.schema import SCHEMA_VERSION
from tests import plain
from tests.app.storage.old_logs import large_payload, make_large
from tests.service import Service
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Each of three lives has a third of the messages.
TOPICS, MESSAGES_EACH = 30, 2_001
KILLS = 8
# A kill comes so long after the upgrade has begun to write: the first ones very early, and the
# last ones, on a fast machine, after its end.
LONGEST_S = 1.0


def _version(data: Path) -> int:
    with contextlib.closing(sqlite3.connect(data / "riptide.db")) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _bytes(data: Path) -> int:
    """Return the size of everything in the directory, which may change meanwhile."""
    total = 0
    for file in data.iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += file.stat().st_size
    return total


def _start_and_kill(service: Service, after_s: float) -> None:
    """Kill the service so long after it has begun to write to the log."""
    data: Path = service.settings["DATA_DIR"]
    before = _bytes(data)
    service.begin()
    wait_until(lambda: _bytes(data) > before + 100_000 or service.serves, pause_s=0.002)
    time.sleep(after_s)
    service.kill()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that is not started, with a log of the version before this one."""
    make_large(tmp_path / "data", TOPICS, MESSAGES_EACH)
    service = Service(tmp_path, {})
    yield service
    service.kill()
    assert "Traceback" not in service.log, service.log


def test_a_log_whose_upgrade_is_killed_again_and_again_has_all_its_messages_and_resumes(
    service: Service,
) -> None:
    data = service.settings["DATA_DIR"]
    unfinished = 0
    for kill in range(KILLS):
        _start_and_kill(service, random.uniform(0, LONGEST_S * kill / KILLS))
        unfinished += _version(data) < SCHEMA_VERSION
    # The first kill comes as soon as the upgrade writes.
    assert unfinished or SCHEMA_VERSION == 4
    service.start()
    assert _version(data) == SCHEMA_VERSION
    for topic in map(str, range(1, TOPICS + 1)):
        _check(service, topic)
    first, _ = service.publish("expired", 1)
    assert first.endswith("-501")
    assert service.stop() == 0


def _check(service: Service, topic: str) -> None:
    """Check the messages of a topic and their ids, and that a consumer resumes in an old life."""
    ids = [
        f"{1 + (sequence - 1) * 3 // MESSAGES_EACH:08x}-{sequence}"
        for sequence in range(1, MESSAGES_EACH + 1)
    ]
    messages = [
        (id_, orjson.loads(large_payload(int(topic), sequence)))
        for sequence, id_ in enumerate(ids, 1)
    ]
    assert _read(service, topic) == messages
    middle = MESSAGES_EACH // 2
    assert _read(service, topic, after=ids[middle - 1]) == messages[middle:]
    first, _ = service.publish(topic, 1)
    assert first.endswith(f"-{MESSAGES_EACH + 1}")


def _read(service: Service, topic: str, **parameters: str) -> list[tuple[str, object]]:
    answer = plain.get(service.topic(topic), params={"until": "latest", **parameters})
    records = map(orjson.loads, answer.text.splitlines())
    return [(record["id"], record["data"]) for record in records if "data" in record]
