"""A log that is shared through a socket, with both ends in the process of the test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from riptide.storage.memory import MemoryLog
from riptide.storage.message_log import Retention
from riptide.storage.shared.client import SharedLog
from riptide.storage.shared.server import LogServer
from riptide.storage.sqlite import SqliteLog
from tests.app.storage.appending import append
from tests.waiting import eventually, in_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from riptide.message import MessageId
    from riptide.storage.message_log import IdState, LocalLog

KEEP = Retention(1000, 3600, 10)


def listen(path: Path) -> socket.socket:
    """Return a listening socket at a path."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    return listener


@contextlib.asynccontextmanager
async def serving(log: LocalLog, listener: socket.socket) -> AsyncIterator[LogServer]:
    """Serve a log on a listener; in the end connections are cut, as if the process had died."""
    server = LogServer(log)
    running = asyncio.create_task(server.run(listener.dup()))
    try:
        yield server
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


@contextlib.asynccontextmanager
async def shared(log: LocalLog, path: Path) -> AsyncIterator[SharedLog]:
    """Serve a log, and open it as a worker does."""
    with listen(path) as listener:
        async with serving(log, listener):
            client = SharedLog(path)
            await in_time(client.open())
            yield client
            await client.close()


def sqlite_log(tmp_path: Path) -> SqliteLog:
    """Return the log of this test."""
    return SqliteLog(tmp_path / "data", KEEP)


async def keep_meanwhile(tmp_path: Path, *payloads: bytes) -> None:
    """Append to a topic of the log of this test while no process serves it."""
    log = sqlite_log(tmp_path)
    await log.open()
    await append(log, "a", *payloads)
    await log.close()


class Life:
    """A process of the log: serves in this context, over a log that others may write to."""

    def __init__(self, log: MemoryLog | SqliteLog, listener: socket.socket, at: SharedLog) -> None:
        self.log = log
        self._at = at
        self._stack = contextlib.AsyncExitStack()
        self._listener = listener

    async def __aenter__(self) -> MemoryLog | SqliteLog:
        await self.log.open()
        self._stack.push_async_callback(self.log.close)
        await self._stack.enter_async_context(serving(self.log, self._listener))
        await eventually(lambda: self._at._link is not None)
        return self.log

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        await eventually(lambda: self._at._link is None)


class SlowToPlace(MemoryLog):
    """A log that says late whether an id is its own."""

    def __init__(self, retention: Retention) -> None:
        super().__init__(retention)
        self.asked, self.goes_on = asyncio.Event(), asyncio.Event()

    async def place(self, topic: str, position: MessageId) -> IdState:
        self.asked.set()
        await self.goes_on.wait()
        return await super().place(topic, position)
