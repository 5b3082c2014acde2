"""What is particular to the log in SQLite; the shared promises are in test_message_log."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from typing import TYPE_CHECKING

import pytest

from riptide.errors import DataDirectoryError, LogUnavailableError
from riptide.storage import sqlite_writer
from riptide.storage.message_log import Retention
from riptide.storage.sqlite import SqliteLog
from tests.app.messages import published
from tests.app.storage.appending import append, end_of
from tests.waiting import eventually

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


async def test_messages_heads_and_ids_survive_a_restart_and_new_messages_have_a_new_epoch(
    tmp_path: Path,
) -> None:
    epochs = []
    for start in (1, 3, 5):
        log = SqliteLog(tmp_path, RETENTION)
        await log.open()
        epochs.append(log.epoch)
        assert await append(log, "a", b"%d" % start, b"%d" % (start + 1)) == start
        await log.close()
    assert len(set(epochs)) == 3
    log = SqliteLog(tmp_path, RETENTION)
    await log.open()
    expected = [(epochs[n // 2], n + 1, b"%d" % (n + 1)) for n in range(6)]
    for after in range(7):
        read = [(m.epoch, m.sequence, m.payload) for m in await log.read("a", after)]
        assert read == expected[after:]
    assert await log.names("", 2) == ["a"]
    assert await log.topics(["a"]) == [("a", (1, 6), epochs[-1])]
    await log.close()


async def test_each_life_is_known_to_have_ended_where_the_next_one_published(
    tmp_path: Path,
) -> None:
    epochs = []
    for payloads in ([b"1", b"2"], [], [b"3"]):
        log = SqliteLog(tmp_path, RETENTION)
        await log.open()
        epochs.append(log.epoch)
        if payloads:
            await append(log, "a", *payloads)
        await log.close()
    log = SqliteLog(tmp_path, RETENTION)
    await log.open()
    assert [await end_of(log, epoch, "a") for epoch in epochs] == [2, 2, 3]
    assert await end_of(log, log.epoch, "a") == 3
    assert [await end_of(log, epoch, "new") for epoch in epochs] == [0, 0, 0]
    assert await end_of(log, "ffffffff", "a") is None
    await append(log, "a", b"4")
    assert await end_of(log, epochs[-1], "a") == 3
    await log.close()


async def test_a_commit_that_was_refused_begins_no_life(tmp_path: Path, log: SqliteLog) -> None:
    await log.close()
    log = SqliteLog(tmp_path, RETENTION)
    await log.open()
    blocker = sqlite3.connect(tmp_path / "riptide.db", isolation_level=None)
    blocker.execute("ALTER TABLE messages RENAME TO gone")
    with pytest.raises(LogUnavailableError):
        await append(log, "a", b"1")
    blocker.execute("ALTER TABLE gone RENAME TO messages")
    assert blocker.execute("SELECT * FROM beginnings").fetchall() == []
    assert await append(log, "a", b"1") == 1
    assert blocker.execute("SELECT first FROM beginnings").fetchall() == [(1,)]
    blocker.close()
    await log.close()


async def test_lives_of_which_every_message_has_expired_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "TRIM_INTERVAL_S", 0.01)
    epochs = []
    for _ in range(4):
        log = SqliteLog(tmp_path, Retention(3, 3600))
        await log.open()
        epochs.append(log.epoch)
        await append(log, "a", b"0", b"0")
        await append(log, "b", b"0")
        await log.close()
    log = SqliteLog(tmp_path, Retention(3, 3600))
    await log.open()
    looking = sqlite3.connect(tmp_path / "riptide.db", isolation_level=None)
    rows = "SELECT name, first FROM beginnings JOIN topics ON id = topic_id ORDER BY name, first"
    # The messages 6 to 8 are left of the one topic, 2 to 4 of the other.
    left = [("a", 5), ("a", 7), ("b", 2), ("b", 3), ("b", 4)]
    await eventually(lambda: looking.execute(rows).fetchall() == left)
    looking.close()
    assert [(m.epoch, m.sequence) for m in await log.read("a", 0)] == [
        (epochs[2], 6),
        (epochs[3], 7),
        (epochs[3], 8),
    ]
    await log.close()


async def test_closing_commits_what_waits(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path, RETENTION)
    await log.open()
    futures = [log.append(published("a", [b"0"])) for _ in range(100)]
    await log.close()
    receipts = await asyncio.gather(*futures)
    assert [receipt.first.sequence for receipt in receipts] == list(range(1, 101))


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
    vandal.execute("ALTER TABLE topics RENAME TO gone")
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
    blocker.execute("ALTER TABLE messages RENAME TO gone")
    with pytest.raises(LogUnavailableError, match="was not published"):
        await append(log, "a", b"2")
    assert "no such table" in (log.unavailable_reason() or "")
    blocker.execute("ALTER TABLE gone RENAME TO messages")
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
    waiting = log.append(published("a", [b"2"]))
    assert [m.payload for m in await log.read("a", 0)] == [b"1"]
    assert not waiting.done()
    holder.execute("COMMIT")
    holder.close()
    assert (await waiting).first.sequence == 2
