"""The write-ahead log of a log that is in use: how large it becomes, and who hears of a failure."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from riptide.errors import LogUnavailableError
from riptide.storage import checkpoints, disk_room, sqlite_writer
from riptide.storage.message_log import Retention
from riptide.storage.sqlite import SqliteLog
from tests.app.storage.appending import append
from tests.small_disk import fill, mounted
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

KILOBYTE, MEGABYTE = 1024, 1024 * 1024
# Little of it is needed to make a write-ahead log large.
MOST = MEGABYTE
PAYLOAD = b'"' + b"x" * 60_000 + b'"'
ALL = Retention(1_000_000, 3600)


@pytest.fixture(autouse=True)
def _small_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_room, "RESERVE_BYTES", MOST)
    monkeypatch.setattr(checkpoints, "POLL_INTERVAL_S", 0.02)
    monkeypatch.setattr(checkpoints, "REST_S", 0.01)


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    async with _opened(tmp_path) as log:
        yield log


@contextlib.asynccontextmanager
async def _opened(directory: Path, retention: Retention = ALL) -> AsyncIterator[SqliteLog]:
    log = SqliteLog(directory, retention)
    await log.open()
    try:
        yield log
    finally:
        await log.close()


def _wal_bytes(directory: Path) -> int:
    return (directory / "riptide.db-wal").stat().st_size


@contextlib.contextmanager
def _other_process(directory: Path, *statements: str) -> Iterator[None]:
    """Keep the transaction of these statements open in another process."""
    program = (
        "import sqlite3, sys; log = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "for statement in sys.argv[2:]: log.execute(statement).fetchall()\n"
        "print('holds', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, directory / "riptide.db", *statements],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"holds\n"
        yield
        process.kill()


def _long_reader(directory: Path) -> contextlib.AbstractContextManager[None]:
    """Read the log in one transaction, as a backup does."""
    return _other_process(directory, "BEGIN", "SELECT count(*) FROM messages")


def _is_in_database_alone(directory: Path, copy: Path) -> bool:
    """Return whether a message is in the database, whatever the write-ahead log has."""
    shutil.copy(directory / "riptide.db", copy)
    with (
        contextlib.closing(sqlite3.connect(copy)) as connection,
        contextlib.suppress(sqlite3.Error),
    ):
        return bool(connection.execute("SELECT count(*) FROM messages").fetchone()[0])
    return False


async def _publish_for_long(log: SqliteLog) -> None:
    for _ in range(200):
        await append(log, "a", PAYLOAD)


async def test_a_log_that_is_published_to_without_a_pause_keeps_its_write_ahead_log_bounded(
    log: SqliteLog, tmp_path: Path
) -> None:
    largest = 0
    for _ in range(200):
        await append(log, "a", PAYLOAD)
        await log.read("a", 0)
        largest = max(largest, _wal_bytes(tmp_path))
    assert largest < 2 * MOST


async def test_what_the_write_ahead_log_grew_by_behind_a_reader_is_given_back_after_the_reader(
    log: SqliteLog, tmp_path: Path
) -> None:
    await append(log, "a", PAYLOAD)
    with _long_reader(tmp_path):
        for _ in range(50):
            await append(log, "a", PAYLOAD)
        assert _wal_bytes(tmp_path) > 2 * MOST
    await eventually(lambda: _wal_bytes(tmp_path) <= MOST)


async def test_messages_are_refused_when_a_reader_lets_the_write_ahead_log_grow_beyond_its_bound(
    log: SqliteLog,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(checkpoints, "MOST_BYTES", 2 * MOST)
    await append(log, "a", PAYLOAD)
    with _long_reader(tmp_path):
        with pytest.raises(LogUnavailableError, match=r"grown to 2 MB: .* such as a backup"):
            await _publish_for_long(log)
        assert _wal_bytes(tmp_path) < 3 * MOST
        await eventually(lambda: "grown to" in (log.unavailable_reason() or ""))
        await eventually(lambda: "is large" in caplog.text)
        assert [r.levelname for r in caplog.records if "is large" in r.message] == ["WARNING"]
    await eventually(lambda: not log.checkpoints.is_held_back())
    assert await append(log, "a", PAYLOAD)
    assert log.unavailable_reason() is None


async def test_a_backup_of_a_log_larger_than_the_bound_does_not_make_messages_refused(
    log: SqliteLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "MOST_BYTES", MOST)
    await append(log, "a", *[PAYLOAD] * 100)
    await eventually(lambda: (tmp_path / "riptide.db").stat().st_size > 5 * MOST)
    with _long_reader(tmp_path):
        while _wal_bytes(tmp_path) < 3 * MOST:
            await append(log, "a", PAYLOAD)


async def test_what_was_committed_is_in_the_database_after_a_while_however_little_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "MOVE_AFTER_S", 0.1)
    async with _opened(tmp_path / "data") as log:
        await append(log, "a", b"1")
        database, copy = tmp_path / "data", tmp_path / "copy.db"
        await eventually(lambda: _is_in_database_alone(database, copy))
        await eventually(lambda: log.checkpoint_age_s() == 0)


async def test_a_checkpoint_that_fails_is_logged_once_and_shown_and_heals_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(checkpoints, "FAILURE_LASTS_S", 0.5)
    with mounted(tmp_path / "data", 24 * MEGABYTE) as disk:
        async with _opened(disk.directory) as log:
            # Too little to be moved at once, and more than the database has room for.
            await append(log, "a", PAYLOAD[: len(PAYLOAD) // 2])
            filler = fill(disk)
            monkeypatch.setattr(checkpoints, "MOVE_AFTER_S", 0.1)
            await eventually(lambda: "cannot be moved" in (log.unavailable_reason() or ""))
            records = [r for r in caplog.records if "cannot be moved" in r.message]
            assert [r.levelname for r in records] == ["ERROR"]
            assert log.checkpoint_age_s() > 0
            filler.unlink()
            await eventually(lambda: log.unavailable_reason() is None)
            await eventually(lambda: "moved to the database again" in caplog.text)
            assert await append(log, "a", b"1") == 2


async def test_a_log_is_closed_without_waiting_for_ever_for_a_checkpoint_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(checkpoints, "MOVE_AFTER_S", 0.0)
    monkeypatch.setattr(sqlite_writer, "STOP_PATIENCE_S", 0.5)
    hangs = threading.Event()
    comes_back = threading.Event()

    def hang(*_: object) -> bool:
        hangs.set()
        return comes_back.wait()

    log = SqliteLog(tmp_path, ALL)
    await log.open()
    monkeypatch.setattr(log._file, "checkpoint", hang)
    await append(log, "a", b"1")
    await eventually(hangs.is_set)
    await log.close()
    assert "the log's disk hangs" in caplog.text
    comes_back.set()
    await log.close()


async def test_a_write_lock_of_another_process_refuses_messages_within_a_second_and_says_why(
    log: SqliteLog, tmp_path: Path
) -> None:
    await append(log, "a", b"1")
    with _other_process(tmp_path, "BEGIN IMMEDIATE"):
        began = time.monotonic()
        for _ in range(3):
            with pytest.raises(LogUnavailableError, match="another program has locked the log"):
                await append(log, "a", b"2")
        # Each would wait for ten seconds, if SQLite's usual patience were ours.
        assert time.monotonic() - began < 9
        assert "another program has locked the log" in (log.unavailable_reason() or "")
    assert await append(log, "a", b"3") == 2
    assert log.unavailable_reason() is None


async def test_room_of_expired_messages_is_given_back_to_the_disk_while_messages_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "TRIM_INTERVAL_S", 0.05)
    monkeypatch.setattr(checkpoints, "MOVE_AFTER_S", 0.1)
    database = tmp_path / "riptide.db"
    async with _opened(tmp_path) as log:
        for _ in range(2):
            await append(log, "a", *[PAYLOAD] * 150)
        await eventually(lambda: database.stat().st_size > 16 * MEGABYTE)
        assert log.free_bytes() == 0
        monkeypatch.setattr(Retention, "first_kept", lambda _, head: head)
        last = await append(log, "a", b"1")

        async def shrunk() -> None:
            nonlocal last
            while database.stat().st_size > 12 * MEGABYTE:
                last = await append(log, "a", b"1")
                await asyncio.sleep(0.01)

        await asyncio.wait_for(shrunk(), 60)
        await eventually(lambda: log.free_bytes() > 0)
        assert [m.sequence for m in await log.read("a", last - 1)] == [last]
