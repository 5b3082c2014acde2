"""Instances, and the parts of which they consist, on a stream of each test's own."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
from typing import TYPE_CHECKING, Protocol

import pytest

from riptide.storage.jetstream.engine import Engine
from riptide.storage.jetstream.log import JetStreamLog
from riptide.storage.jetstream.options import JetStreamOptions
from riptide.storage.jetstream.stored_records import StoredRecords
from riptide.storage.jetstream.stream import find_or_create
from riptide.storage.jetstream.subjects import Subjects
from riptide.storage.message_log import Retention

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEEP = Retention(1_000_000, 3600)


class OpenInstance(Protocol):
    """Opens another instance on the stream of this test."""

    async def __call__(
        self, retention: Retention = KEEP, append_timeout_s: float = 15
    ) -> JetStreamLog: ...


@pytest.fixture
def options(nats_url: str) -> JetStreamOptions:
    """Options for a stream of this test's own."""
    return JetStreamOptions([nats_url], f"test-{secrets.token_hex(8)}", replicas=1)


@pytest.fixture
async def engine(options: JetStreamOptions) -> AsyncIterator[Engine]:
    """A connection."""
    engine = Engine(options, lambda: None)
    await engine.connect()
    yield engine
    await engine.close()


@pytest.fixture
async def stored(engine: Engine, options: JetStreamOptions) -> StoredRecords:
    """What is stored in a new stream."""
    subjects = Subjects(options.stream)
    await find_or_create(engine, options, subjects, KEEP)
    return StoredRecords(engine, subjects)


@pytest.fixture
async def instance(options: JetStreamOptions) -> AsyncIterator[OpenInstance]:
    async with contextlib.AsyncExitStack() as stack:

        async def open_one(
            retention: Retention = KEEP, append_timeout_s: float = 15
        ) -> JetStreamLog:
            log = JetStreamLog(
                dataclasses.replace(options, append_timeout_s=append_timeout_s), retention
            )
            await log.open()
            stack.push_async_callback(log.close)
            return log

        yield open_one
