"""All logs, so that one suite holds them to the same promises."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Protocol

import pytest

from benchmarks.endurance.cluster.questions import ask
from riptide.storage.jetstream.log import JetStreamLog
from riptide.storage.jetstream.options import JetStreamOptions
from riptide.storage.memory import MemoryLog
from riptide.storage.message_log import Retention
from riptide.storage.sqlite import SqliteLog
from riptide.storage.sqlite_file import SqliteFile
from tests.app.storage.shared.sharing import shared

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from riptide.storage.message_log import LocalLog, MessageLog
    from tests.nats_servers import Cluster


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SqliteFile]:
    """A new log's file, open."""
    file = SqliteFile(tmp_path)
    file.open()
    yield file
    file.close()


@pytest.fixture
def connection(file: SqliteFile) -> Iterator[sqlite3.Connection]:
    """A connection to a new log, as its writer has one."""
    with contextlib.closing(file.connect()) as connection:
        yield connection


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    """An open log in ``tmp_path`` that keeps much."""
    log = SqliteLog(tmp_path, Retention(100_000, 3600))
    await log.open()
    yield log
    await log.close()


class OpenLog(Protocol):
    """Makes and opens a log with a retention of its own."""

    async def __call__(
        self, messages: int = 1000, seconds: float = 3600, topics: int = 1000
    ) -> MessageLog: ...


LOGS = ["memory", "sqlite", "shared memory", "shared sqlite", "jetstream", "jetstream-3"]


@pytest.fixture(params=LOGS)
async def open_log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenLog]:
    async with contextlib.AsyncExitStack() as stack:

        async def open_one(
            messages: int = 1000, seconds: float = 3600, topics: int = 1000
        ) -> MessageLog:
            retention = Retention(messages, seconds, topics)
            log: LocalLog
            if request.param.startswith("jetstream"):
                stream = f"test-{secrets.token_hex(8)}"
                urls, replicas = [request.getfixturevalue("nats_url")], 1
                if request.param == "jetstream-3":
                    cluster: Cluster = request.getfixturevalue("running_cluster")
                    await cluster.wait_until_it_answers()
                    urls, replicas = cluster.urls.split(","), 3
                log = JetStreamLog(JetStreamOptions(urls, stream, replicas=replicas), retention)
                # Each stream of a cluster elects leaders for as long as it lives.
                stack.push_async_callback(ask, urls, f"STREAM.DELETE.{stream}")
            elif request.param.endswith("memory"):
                log = MemoryLog(retention)
            else:
                log = SqliteLog(tmp_path / "data", retention)
            await log.open()
            stack.push_async_callback(log.close)
            if request.param.startswith("shared"):
                return await stack.enter_async_context(shared(log, tmp_path / "log.socket"))
            return log

        yield open_one
