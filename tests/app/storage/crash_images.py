"""Images of a log as a crash leaves it: copies of its files that were made while it was open."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from riptide.storage.message_log import Retention
from riptide.storage.sqlite import SqliteLog
from tests.app.storage.appending import append

if TYPE_CHECKING:
    from pathlib import Path

FOR_EVER = Retention(1_000_000, 1e9)


def payload(topic: str, number: int, size: int = 200) -> bytes:
    """Return a payload that no other message has."""
    return b'"%s %05d %s"' % (topic.encode(), number, topic.encode() * size)


async def make_crash_image(
    directory: Path,
    image: Path,
    commits: int,
    per_commit: int = 2,
    topics: tuple[str, ...] = ("a",),
    size: int = 200,
) -> None:
    """Commit messages to a log, and copy its files before it is closed."""
    log = SqliteLog(directory, FOR_EVER)
    await log.open()
    for commit in range(commits):
        for topic in topics:
            first = 1 + commit * per_commit
            payloads = (payload(topic, first + n, size) for n in range(per_commit))
            await append(log, topic, *payloads)
    copy_log(directory, image)
    await log.close()


def copy_log(directory: Path, image: Path) -> None:
    """Copy the database and its write-ahead log, without the index, which a crash may leave."""
    image.mkdir()
    for name in ("riptide.db", "riptide.db-wal"):
        if (directory / name).exists():
            shutil.copy(directory / name, image / name)
