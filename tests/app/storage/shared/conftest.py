"""A worker's log and the socket of the process that keeps it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from riptide.storage.shared.client import SharedLog
from tests.app.storage.shared.sharing import listen
from tests.waiting import in_time

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.socket"


@pytest.fixture
def listener(path: Path) -> Iterator[socket.socket]:
    with listen(path) as listener:
        yield listener


@pytest.fixture
async def shared(path: Path, listener: socket.socket) -> AsyncIterator[SharedLog]:
    """A worker's log, which is being opened: it waits for the first process."""
    del listener
    log = SharedLog(path)
    opening = asyncio.create_task(log.open())
    yield log
    opening.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await opening
    await in_time(log.close())
