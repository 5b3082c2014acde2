"""Short reads do not wait for long ones, and none holds the log's files back."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

import pytest

from riptide.errors import LogUnavailableError
from riptide.storage import sqlite_reader
from riptide.storage.message_log import READ_MESSAGES, Retention
from riptide.storage.sqlite import SqliteLog
from riptide.storage.sqlite_file import SqliteFile
from tests.app.storage.appending import append
from tests.waiting import DEADLINE_S, in_time

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator
    from pathlib import Path

    from riptide.message import Message


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    log = SqliteLog(tmp_path, Retention(100_000, 3600))
    await log.open()
    yield log
    await log.close()


async def test_bounds_positions_and_topics_are_answered_while_messages_are_read(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await append(log, "a", b"1")
    may_end = threading.Event()
    read = sqlite_reader._select_messages

    def read_slowly(connection: sqlite3.Connection, topic: str, after: int) -> list[Message]:
        assert may_end.wait(DEADLINE_S)
        return read(connection, topic, after)

    monkeypatch.setattr(sqlite_reader, "_select_messages", read_slowly)
    reads = [asyncio.create_task(log.read("a", 0)) for _ in range(100)]
    try:
        assert await in_time(log.bounds("a")) == (1, 1)
        assert await in_time(log.end_of(log.epoch, "a")) == 1
        assert await in_time(log.topics("", 10)) == [("a", (1, 1), log.epoch)]
        assert not any(read.done() for read in reads)
    finally:
        may_end.set()
        await in_time(asyncio.gather(*reads))


async def test_no_read_keeps_the_write_ahead_log_from_being_reused(
    log: SqliteLog, tmp_path: Path
) -> None:
    await append(log, "a", *[b"1"] * READ_MESSAGES * 2)
    assert len(await log.read("a", 1)) < READ_MESSAGES
    await log.bounds("a")
    await log.end_of(log.epoch, "a")
    await log.topics("", 1)
    with contextlib.closing(SqliteFile(tmp_path).connect()) as connection:
        (is_held, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert not is_held


async def test_a_log_that_is_closed_says_that_it_cannot_be_read(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path, Retention(10, 3600))
    await log.open()
    await log.close()
    with pytest.raises(LogUnavailableError, match="cannot be read"):
        await log.read("a", 0)
