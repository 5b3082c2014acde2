"""Many consumers that catch up on a log on disk read it as often as one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from riptide.encoding.formats import NDJSON
from riptide.hub.batch import Batch
from riptide.hub.hub import Hub
from riptide.hub.ring import RingLimits
from riptide.hub.stream_range import StreamRange
from riptide.message import Acceptance, Edge
from riptide.publication import Publication
from riptide.storage import selects
from riptide.storage.message_log import READ_MESSAGES, Retention
from riptide.storage.sqlite import SqliteLog
from riptide_telemetry import Lifecycle
from tests.waiting import in_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from riptide.message import Message

CONSUMERS = 200
CHUNKS = 6


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    """A hub on disk, with a long topic."""
    log = SqliteLog(tmp_path, Retention(100_000, 3600))
    await log.open()
    hub = Hub(log, Lifecycle(), RingLimits(10, 100_000))
    await hub.publish(Publication("a", [b"1"] * CHUNKS * READ_MESSAGES, Acceptance.now()))
    yield hub
    await log.close()


async def _read_all(hub: Hub) -> int:
    """Read the topic to its end, and return the number of messages."""
    start = await hub.subscribe("a", NDJSON, StreamRange(Edge.EARLIEST, finite=True))
    subscription = start.subscription
    while isinstance(batch := await subscription.next(), Batch):
        subscription.advance(batch)
    hub.unsubscribe(subscription)
    return subscription.sent


async def test_consumers_that_catch_up_together_read_each_message_once(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[int] = []
    read = selects.select_messages

    def note(*arguments: Any) -> list[Message]:
        places.append(arguments[-1])
        return read(*arguments)

    monkeypatch.setattr(selects, "select_messages", note)
    counts = await in_time(asyncio.gather(*[_read_all(hub) for _ in range(CONSUMERS)]))
    assert counts == [CHUNKS * READ_MESSAGES] * CONSUMERS
    assert places == [READ_MESSAGES * number for number in range(CHUNKS)]
