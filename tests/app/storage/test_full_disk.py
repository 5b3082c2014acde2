"""The SQLite log on a disk that is really full."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from riptide.errors import DataDirectoryError, LogUnavailableError
from riptide.storage import sqlite_writer
from riptide.storage.message_log import Retention
from riptide.storage.sqlite import SqliteLog
from tests.app.storage.appending import append, end_of
from tests.small_disk import fill, mounted
from tests.waiting import in_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from operations.drill.small_disk import SmallDisk

MEGABYTE = 1024 * 1024
SIZES = [2 * MEGABYTE, 8 * MEGABYTE, 48 * MEGABYTE]
ALL = Retention(1_000_000, 3600)
SMALL = b'"small"'


@pytest.fixture(autouse=True)
def _often_trimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_writer, "TRIM_INTERVAL_S", 0.02)


@pytest.fixture(params=SIZES, ids=lambda size: f"{size // MEGABYTE}MB")
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted(tmp_path / "data", request.param) as disk:
        yield disk


def _size(disk: SmallDisk) -> int:
    status = os.statvfs(disk.directory)
    return status.f_blocks * status.f_frsize


def _expire_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the retention pass for all messages that there are."""
    monkeypatch.setattr(Retention, "oldest_kept", lambda _: 2**62)


@contextlib.asynccontextmanager
async def _opened(disk: SmallDisk, retention: Retention = ALL) -> AsyncIterator[SqliteLog]:
    log = SqliteLog(disk.directory, retention)
    await log.open()
    try:
        yield log
    finally:
        await log.close()


async def _publish_until_refused(log: SqliteLog, disk: SmallDisk, batch: int = 1) -> int:
    """Fill the disk until even a small message is refused; return the number of messages."""
    payload = b'"' + b"x" * (_size(disk) // 1000) + b'"'
    last = 0
    for payloads in ([payload] * batch, [payload] * 5, [payload], [SMALL]):
        with contextlib.suppress(LogUnavailableError):
            while True:
                last = await append(log, "a", *payloads) + len(payloads) - 1
        # The log may find more room when it deletes next.
        await asyncio.sleep(5 * sqlite_writer.TRIM_INTERVAL_S)
    assert last > 300, "most of the disk is for messages"
    return last


async def _publish_when_there_is_room(log: SqliteLog) -> int:
    async def publish() -> int:
        while True:
            with contextlib.suppress(LogUnavailableError):
                return await append(log, "a", SMALL)
            await asyncio.sleep(sqlite_writer.TRIM_INTERVAL_S)

    return await in_time(publish())


async def _count(log: SqliteLog, after: int = 0) -> int:
    count = 0
    while messages := await log.read("a", after):
        count += len(messages)
        after = messages[-1].sequence
    return count


@pytest.mark.parametrize("batch", [1, 50])
async def test_a_log_that_filled_its_disk_publishes_again_by_itself_once_messages_have_expired(
    disk: SmallDisk, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _opened(disk) as log:
        last = await _publish_until_refused(log, disk, batch)
        assert await _count(log) == last
        _expire_all(monkeypatch)
        for number in range(1, 20):
            assert await _publish_when_there_is_room(log) == last + number


async def test_expired_messages_are_deleted_though_another_program_has_taken_all_the_room(
    disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _opened(disk) as log:
        payload = b'"' + b"x" * (_size(disk) // 100) + b'"'
        for _ in range(20):
            await append(log, "a", payload)
        filler = fill(disk)
        with pytest.raises(LogUnavailableError, match="full"):
            await append(log, "a", payload)
        assert log.unavailable_reason()
        _expire_all(monkeypatch)

        async def deleted() -> None:
            while await _count(log):  # noqa: ASYNC110  # the log has no event for it
                await asyncio.sleep(sqlite_writer.TRIM_INTERVAL_S)

        await in_time(deleted())
        filler.unlink()
        assert await _publish_when_there_is_room(log) == 21
        assert log.unavailable_reason() is None


async def test_a_log_on_a_disk_that_it_filled_opens_serves_what_it_has_and_goes_on_with_room(
    disk: SmallDisk,
) -> None:
    async with _opened(disk) as log:
        last = await _publish_until_refused(log, disk)
        before = log.epoch
    for _ in range(2):
        async with _opened(disk) as log:
            assert await _count(log) == last
            assert await end_of(log, before, "a") == last
            disk.resize(2 * _size(disk))
            last += 1
            assert await _publish_when_there_is_room(log) == last
            before = log.epoch


async def test_a_log_on_a_full_disk_opens_with_a_lower_retention_and_publishes_again(
    disk: SmallDisk,
) -> None:
    async with _opened(disk) as log:
        last = await _publish_until_refused(log, disk)
    async with _opened(disk, Retention(100, 3600)) as log:
        assert await _publish_when_there_is_room(log) == last + 1


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "killed"])
async def test_a_log_opens_on_a_disk_without_a_byte_of_room_and_keeps_its_new_life_later(
    tmp_path: Path, *, closed: bool
) -> None:
    with mounted(tmp_path / "data", 8 * MEGABYTE) as disk:
        async with _opened(disk) as log:
            first = log.epoch
            await append(log, "a", *[SMALL] * 10)
            files = {path: path.read_bytes() for path in disk.directory.iterdir()}
        if not closed:
            for path, content in files.items():
                path.write_bytes(content)
        # As a log of an older version, or one whose reserve was needed.
        os.truncate(disk.directory / "riptide.lock", 0)
        filler = fill(disk)
        async with _opened(disk) as log:
            second = log.epoch
            assert await _count(log) == 10
            assert await end_of(log, first, "a") == 10
            with pytest.raises(LogUnavailableError, match="full"):
                await append(log, "a", SMALL)
            filler.unlink()
            assert await _publish_when_there_is_room(log) == 11
            assert [m.epoch for m in await log.read("a", 9)] == [first, second]
        async with _opened(disk) as log:
            assert len({first, second, log.epoch}) == 3
            assert [await end_of(log, epoch, "a") for epoch in (first, second)] == [10, 11]


async def test_a_log_that_a_full_disk_has_no_room_to_create_says_so_in_one_line(
    tmp_path: Path,
) -> None:
    with mounted(tmp_path / "data", MEGABYTE) as disk:
        filler = fill(disk)
        log = SqliteLog(disk.directory, ALL)
        with pytest.raises(DataDirectoryError, match="free some disk space") as refused:
            await log.open()
        assert "\n" not in str(refused.value)
        filler.unlink()
        async with _opened(disk) as log:
            assert await append(log, "a", SMALL) == 1


async def test_a_message_larger_than_the_room_is_refused_and_smaller_ones_go_on(
    tmp_path: Path,
) -> None:
    with mounted(tmp_path / "data", 8 * MEGABYTE) as disk:
        async with _opened(disk) as log:
            with pytest.raises(LogUnavailableError, match="full"):
                await append(log, "a", b'"' + b"x" * 6 * MEGABYTE + b'"')
            assert [await append(log, "a", SMALL) for _ in range(3)] == [1, 2, 3]
            assert log.unavailable_reason() is None
