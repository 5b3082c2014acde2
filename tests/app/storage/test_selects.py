"""What is read from the file and from what it does not have yet."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from riptide.storage.message_log import READ_MESSAGES, Retention
from riptide.storage.sqlite import SqliteLog
from riptide.storage.sqlite_file import SqliteFile
from tests.app.storage.appending import append

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    log = SqliteLog(tmp_path, Retention(100_000, 3600))
    await log.open()
    yield log
    await log.close()


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
