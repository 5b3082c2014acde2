"""The check after the start: what is short is checked before it is served, and no start waits."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from riptide.storage import self_check
from riptide.storage.message_log import Retention
from riptide.storage.sqlite import SqliteLog
from tests.app.storage.appending import append
from tests.app.storage.damaging import break_table, flip_in
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

RETENTION = Retention(1000, 3600)


@pytest.fixture
async def log_directory(tmp_path: Path) -> Path:
    log = SqliteLog(tmp_path, RETENTION)
    await log.open()
    for first in range(0, 100, 10):
        payloads = {n % 10: b'"number %03d %s"' % (n, b"x" * 300) for n in range(first, first + 10)}
        await asyncio.gather(*(append(log, f"topic-{n}", payloads[n]) for n in payloads))
    await log.close()
    return tmp_path


async def test_damage_that_nobody_reads_is_counted_and_said_at_the_start(
    log_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flip_in(log_directory / "riptide.db", b'"number 047', 2)
    log = SqliteLog(log_directory, RETENTION)
    await log.open()
    assert log.damage.unreadable_messages == 1
    assert "topic topic-7: message 5 is damaged" in caplog.text
    assert "riptide verify" in caplog.text
    await log.close()


@pytest.mark.parametrize("table", ["places", "messages"])
async def test_messages_that_seem_to_have_expired_because_of_damage_are_found(
    log_directory: Path, caplog: pytest.LogCaptureFixture, table: str
) -> None:
    """A row at the front of a topic is lost: to its readers it looks expired."""
    with contextlib.closing(sqlite3.connect(log_directory / "riptide.db")) as connection:
        connection.execute(f"DELETE FROM {table} WHERE topic_id = 3 AND sequence = 1")  # noqa: S608  # two names
        connection.commit()
    log = SqliteLog(log_directory, RETENTION)
    await log.open()
    assert log.damage.unreadable_messages == 1
    assert "topic topic-2: " in caplog.text
    await log.close()


async def test_a_long_check_goes_on_while_the_log_is_served_and_ends_with_it(
    log_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_check, "WAIT_S", 0.0)
    monkeypatch.setattr(self_check, "WORK_S", 0.0)
    flip_in(log_directory / "riptide.db", b'"number 099', 2)
    log = SqliteLog(log_directory, RETENTION)
    await log.open()
    assert await append(log, "topic-0", b"new") == 11
    wait_until(lambda: log.damage.unreadable_messages == 1, lambda: "no damage was found")
    await log.close()
    monkeypatch.setattr(self_check, "REST", 1e9)
    log = SqliteLog(log_directory, RETENTION)
    await log.open()
    # The check rests, and its end does not wait for that.
    await log.close()


async def test_a_log_with_pages_that_cannot_be_read_is_served_without_them(
    log_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    break_table(log_directory / "riptide.db", "messages", 1)
    log = SqliteLog(log_directory, RETENTION)
    await log.open()
    assert await append(log, "new", b"1") == 1
    assert [message.payload for message in await log.read("new", 0)] == [b"1"]
    assert log.damage.unreadable_messages > 0
    assert "the log is damaged" in caplog.text
    await log.close()
