"""Short reads do not wait for long ones, and reads that fail or hang are found."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

import pytest

from riptide.errors import LogUnavailableError
from riptide.storage import log_watch, selects, sqlite_reader
from riptide.storage.message_log import Retention
from riptide.storage.sqlite import SqliteLog
from tests.app.storage.appending import append, end_of
from tests.waiting import DEADLINE_S, eventually, in_time

if TYPE_CHECKING:
    from pathlib import Path

    from riptide.message import Message


async def test_bounds_positions_and_topics_are_answered_while_messages_are_read(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await append(log, "a", b"1")
    may_end = threading.Event()
    read = selects.select_messages

    def read_slowly(*arguments: Any) -> list[Message]:
        assert may_end.wait(DEADLINE_S)
        return read(*arguments)

    monkeypatch.setattr(selects, "select_messages", read_slowly)
    reads = [asyncio.create_task(log.read("a", 0)) for _ in range(100)]
    try:
        assert await in_time(log.bounds("a")) == (1, 1)
        assert await in_time(end_of(log, log.epoch, "a")) == 1
        assert await in_time(log.topics(["a"])) == [("a", (1, 1), log.epoch)]
        assert not any(read.done() for read in reads)
    finally:
        may_end.set()
        await in_time(asyncio.gather(*reads))


async def test_reads_that_fail_are_found_without_any_consumer(
    tmp_path: Path,
    log: SqliteLog,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(sqlite_reader, "PROBE_INTERVAL_S", 0.01)
    caplog.set_level(logging.INFO)
    path = tmp_path / "riptide.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("ALTER TABLE messages RENAME TO gone")
        watching = asyncio.create_task(log.watch())
        await eventually(lambda: "it cannot be read: no such" in (log.unavailable_reason() or ""))
        other.execute("ALTER TABLE gone RENAME TO messages")
        await eventually(lambda: log.unavailable_reason() is None)
        watching.cancel()
    told = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert told == ["the message log cannot be read", "the message log can be read again"]


@pytest.mark.parametrize("select", ["select_bounds", "select_messages"])
async def test_a_read_that_hangs_is_told_while_it_does(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch, select: str
) -> None:
    monkeypatch.setattr(log_watch, "LIMIT_S", 0.05)
    may_end = threading.Event()
    monkeypatch.setattr(selects, select, lambda *_: may_end.wait(DEADLINE_S))
    readings = [asyncio.ensure_future(reading) for reading in (log.bounds("a"), log.read("a", 0))]
    await eventually(lambda: (log.unavailable_reason() or "").startswith("a read has taken "))
    may_end.set()
    await in_time(asyncio.gather(*readings))
    assert log.unavailable_reason() is None


async def test_a_log_that_is_closed_says_that_it_cannot_be_read(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path, Retention(10, 3600))
    await log.open()
    await log.close()
    with pytest.raises(LogUnavailableError, match="cannot be read"):
        await log.read("a", 0)
