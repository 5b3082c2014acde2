"""Logs for the commands that work on files."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from riptide.storage.message_log import Retention
from riptide.storage.sqlite import SqliteLog
from tests.app.storage.appending import append

if TYPE_CHECKING:
    from pathlib import Path

RETENTION = Retention(1000, 3600)


def make_log(directory: Path, *payloads: bytes) -> None:
    """Make a log in which a topic has these messages."""

    async def make() -> None:
        log = SqliteLog(directory, RETENTION)
        await log.open()
        await append(log, "a", *payloads)
        await log.close()

    asyncio.run(make())


def payloads_of(directory: Path) -> list[bytes]:
    """Open the log of a directory as the service does, and return its messages."""

    async def read() -> list[bytes]:
        log = SqliteLog(directory, RETENTION)
        await log.open()
        messages = await log.read("a", 0)
        await log.close()
        return [message.payload for message in messages]

    return asyncio.run(read())
