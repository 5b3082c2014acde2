"""A list of topics has all of which anything is known, whatever is damaged of others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from riptide.storage.message_log import Retention
from riptide.storage.sqlite import SqliteLog
from tests.app.storage.appending import append
from tests.app.storage.damaging import break_table

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [f"topic-{number:03}" for number in range(900)]


@pytest.fixture
async def log_directory(tmp_path: Path) -> Path:
    log = SqliteLog(tmp_path, Retention(1000, 3600))
    await log.open()
    await asyncio.gather(*(append(log, name, b"1", b"2") for name in NAMES))
    await log.close()
    return tmp_path


@pytest.mark.parametrize("table", ["places", "messages"])
async def test_a_page_that_cannot_be_read_hides_no_topic(log_directory: Path, table: str) -> None:
    break_table(log_directory / "riptide.db", table, 1)
    log = SqliteLog(log_directory, Retention(1000, 3600))
    await log.open()
    listed = await log.topics(NAMES)
    assert [topic.name for topic in listed] == NAMES
    assert {topic.bounds for topic in listed} == {(1, 2)}
    assert log.damage.unreadable_messages > 0
    await log.close()


async def test_a_topic_whose_ids_cannot_be_told_is_said_to_be_damaged_and_hides_no_other(
    log_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = SqliteLog(log_directory, Retention(1000, 3600))
    await log.open()
    break_table(log_directory / "riptide.db", "beginnings", 1)
    # A commit, after which nothing that was read before counts.
    await append(log, NAMES[0], b"3")
    listed = await log.topics(NAMES)
    hidden = {*NAMES} - {topic.name for topic in listed}
    assert 0 < len(hidden) < len(NAMES)
    assert f"the messages of topic {min(hidden)} were published" in caplog.text
    await log.close()
