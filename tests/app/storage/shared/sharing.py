"""A log that is shared through a socket, with both ends in the process of the test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from riptide.storage.shared.client import SharedLog
from riptide.storage.shared.server import LogServer
from tests.waiting import in_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from riptide.storage.message_log import MessageLog


def listen(path: Path) -> socket.socket:
    """Return a listening socket at a path."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    return listener


@contextlib.asynccontextmanager
async def serving(log: MessageLog, listener: socket.socket) -> AsyncIterator[LogServer]:
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
async def shared(log: MessageLog, path: Path) -> AsyncIterator[SharedLog]:
    """Serve a log, and open it as a worker does."""
    with listen(path) as listener:
        async with serving(log, listener):
            client = SharedLog(path)
            await in_time(client.open())
            yield client
            await client.close()
