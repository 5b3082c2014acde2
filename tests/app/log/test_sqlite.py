"""What is particular to the log in SQLite; the shared promises are in test_message_log."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from typing import TYPE_CHECKING

import pytest

from app.errors import DataDirectoryError, LogUnavailableError
from app.log.message_log import Retention
from app.log.sqlite import SqliteLog
from tests.app.log.appending import append

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

RETENTION = Retention(1000, 3600)


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    log = SqliteLog(tmp_path, RETENTION)
    await log.open()
    yield log
    await log.close()


async def test_messages_heads_and_epoch_survive_a_restart(tmp_path: Path) -> None:
    first = SqliteLog(tmp_path, RETENTION)
    await first.open()
    await append(first, "a", b"1", b"2")
    await first.close()
    second = SqliteLog(tmp_path, RETENTION)
    await second.open()
    assert second.epoch == first.epoch
    assert [(m.sequence, m.payload, m.epoch) for m in await second.read("a", 0)] == [
        (1, b"1", first.epoch),
        (2, b"2", first.epoch),
    ]
    assert await append(second, "a", b"3") == 3
    await second.close()


async def test_closing_commits_what_waits(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path, RETENTION)
    await log.open()
    futures = [log.append("a", [b"0"], time.time_ns()) for _ in range(100)]
    await log.close()
    assert await asyncio.gather(*futures) == list(range(1, 101))


async def test_an_acknowledged_message_can_be_read_by_another_process(
    log: SqliteLog, tmp_path: Path
) -> None:
    await append(log, "a", b"1")
    other = sqlite3.connect(tmp_path / "riptide.db")
    try:
        assert other.execute("SELECT payload FROM messages").fetchall() == [(b"1",)]
    finally:
        other.close()


async def test_what_fails_to_be_read_is_said_to_be_unavailable_for_now(
    log: SqliteLog, tmp_path: Path
) -> None:
    await append(log, "a", b"1")
    vandal = sqlite3.connect(tmp_path / "riptide.db", isolation_level=None)
    vandal.execute("ALTER TABLE messages RENAME TO gone")
    vandal.close()
    for reading in (log.read("a", 0), log.bounds("a")):
        with pytest.raises(LogUnavailableError, match="no such table") as caught:
            await reading
        assert caught.value.retry_after is not None


async def test_a_failed_commit_is_told_to_its_publisher_and_to_readiness_until_one_succeeds(
    log: SqliteLog, tmp_path: Path
) -> None:
    await append(log, "a", b"1")
    blocker = sqlite3.connect(tmp_path / "riptide.db", isolation_level=None)
    blocker.execute("ALTER TABLE topics RENAME TO gone")
    with pytest.raises(LogUnavailableError, match="was not published"):
        await append(log, "a", b"2")
    assert "no such table" in (log.unavailable_reason() or "")
    blocker.execute("ALTER TABLE gone RENAME TO topics")
    blocker.close()
    assert await append(log, "a", b"3") == 2
    assert log.unavailable_reason() is None


async def test_a_directory_in_use_is_refused_until_it_is_let_go(
    log: SqliteLog, tmp_path: Path
) -> None:
    other = SqliteLog(tmp_path, RETENTION)
    with pytest.raises(DataDirectoryError, match="in use by another Riptide process"):
        await other.open()
    await other.close()
    await append(log, "a", b"1")
    await log.close()
    third = SqliteLog(tmp_path, RETENTION)
    await third.open()
    assert await third.bounds("a") == (1, 1)
    await third.close()


async def test_neither_opening_nor_reading_nor_writing_happens_on_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[str] = set()
    connect = sqlite3.connect

    def spy(*args: object, **kwargs: object) -> sqlite3.Connection:
        connection = connect(*args, **kwargs)  # type: ignore[call-overload]  # passed on as it came
        connection.set_trace_callback(lambda _: threads.add(threading.current_thread().name))
        return connection  # type: ignore[no-any-return]  # as above

    monkeypatch.setattr(sqlite3, "connect", spy)
    log = SqliteLog(tmp_path, RETENTION)
    await log.open()
    await append(log, "a", b"1")
    await log.read("a", 0)
    await log.close()
    assert threads
    assert all(name.startswith("riptide-log-") for name in threads)


async def test_reads_go_on_while_a_commit_waits_for_its_turn(
    log: SqliteLog, tmp_path: Path
) -> None:
    await append(log, "a", b"1")
    holder = sqlite3.connect(tmp_path / "riptide.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    waiting = log.append("a", [b"2"], time.time_ns())
    assert [m.payload for m in await log.read("a", 0)] == [b"1"]
    assert not waiting.done()
    holder.execute("COMMIT")
    holder.close()
    assert await waiting == 2
