from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from riptide.encoding.formats import NDJSON
from riptide.hub.hub import Hub
from riptide.hub.ring import RingLimits
from riptide.hub.stream_range import StreamRange
from riptide.message import MessageId
from riptide.storage import append_transaction, forgotten_topics, sqlite_writer
from riptide.storage.message_log import Retention
from riptide.storage.sqlite import SqliteLog
from riptide_telemetry import Lifecycle, ReconnectionOutcome
from tests.app.messages import published
from tests.app.storage.appending import append, end_of
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LONG_AGO_NS = 1
RESUMED, GAP, RESET = (
    ReconnectionOutcome.RESUMED,
    ReconnectionOutcome.GAP,
    ReconnectionOutcome.RESET,
)


@pytest.fixture(autouse=True)
def _often_trimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_writer, "TRIM_INTERVAL_S", 0.01)


@contextlib.asynccontextmanager
async def _life(directory: Path, topics: int = 1) -> AsyncIterator[SqliteLog]:
    log = SqliteLog(directory, Retention(1000, 3600, topics))
    await log.open()
    try:
        yield log
    finally:
        await log.close()


async def _publish_and_expire(log: SqliteLog, topic: str, count: int = 1) -> None:
    """Publish messages that are expired at once, and wait until they are deleted."""
    await log.append(published(topic, [b"1"] * count, LONG_AGO_NS))
    await eventually(lambda: len(log._writer._trimming._live) == 0)


async def _outcome(log: SqliteLog, topic: str, epoch: str, sequence: int) -> object:
    """Return what a consumer is told that resumes from an id."""
    hub = Hub(log, Lifecycle(), RingLimits(100, 100_000))
    start = await hub.subscribe(topic, NDJSON, StreamRange(MessageId(epoch, sequence)))
    return start.reconnection, start.missed_count


def _names(directory: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(directory / "riptide.db")) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM topics ORDER BY name")]


async def test_topics_whose_last_message_is_oldest_are_forgotten_and_as_many_kept_as_may_have_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgotten_topics, "FORGOTTEN_AT_ONCE", 2)
    for topics in (("z", "y", "x", "w", "v", "u"), ("z",)):
        async with _life(tmp_path, 6) as log:
            for topic in topics:
                await _publish_and_expire(log, topic)
    async with _life(tmp_path, 6) as log:
        assert len(_names(tmp_path)) == 6
        await append(log, "live", b"1")
    async with _life(tmp_path, 1) as log:
        assert _names(tmp_path) == ["live", "z"]
        assert await log.bounds("z") == (3, 2)
        assert await log.bounds("y") == (1, 0)


async def test_a_consumer_of_a_forgotten_topic_is_reset_whatever_the_topic_has_by_then(
    tmp_path: Path,
) -> None:
    async with _life(tmp_path) as log:
        first = log.epoch
        await _publish_and_expire(log, "a", 5)
        for sequence in range(5):
            assert await _outcome(log, "a", first, sequence) == (GAP, 5 - sequence)
        assert await _outcome(log, "a", first, 5) == (RESUMED, 0)
        await _publish_and_expire(log, "b")
        await _publish_and_expire(log, "c")
    async with _life(tmp_path) as log:
        second = log.epoch
        assert "a" not in _names(tmp_path)
        for count in range(7):
            for sequence in range(6):
                assert await _outcome(log, "a", first, sequence) == (RESET, 0), (count, sequence)
            assert await _outcome(log, "a", second, count) == (RESUMED, 0)
            assert await append(log, "a", b"%d" % count) == count + 1
    async with _life(tmp_path) as log:
        for sequence in range(6):
            assert await _outcome(log, "a", first, sequence) == (RESET, 0)
            assert await _outcome(log, "a", second, sequence) == (RESUMED, 0)


async def test_a_topic_that_was_not_forgotten_is_as_well_known_as_before(tmp_path: Path) -> None:
    async with _life(tmp_path, 2) as log:
        first = log.epoch
        await append(log, "a", b"1", b"2")
        for topic in ("b", "c", "d"):
            await log.append(published(topic, [b"1"], LONG_AGO_NS))
            await eventually(lambda: len(log._writer._trimming._live) == 1)
    async with _life(tmp_path, 2) as log:
        second = log.epoch
        assert _names(tmp_path) == ["a", "c", "d"]
        assert await append(log, "a", b"3") == 3
        assert [await _outcome(log, "a", first, n) for n in (0, 1, 2, 3)] == [
            (RESUMED, 0),
            (RESUMED, 0),
            (RESUMED, 0),
            (RESET, 0),
        ]
        assert await _outcome(log, "a", second, 3) == (RESUMED, 0)


async def test_ids_of_forgotten_topics_are_not_given_to_others(tmp_path: Path) -> None:
    async with _life(tmp_path) as log:
        first = log.epoch
        for topic in ("a", "b", "c"):
            await _publish_and_expire(log, topic)
    async with _life(tmp_path) as log:
        assert _names(tmp_path) == ["c"]
        await _publish_and_expire(log, "c")
        await _publish_and_expire(log, "d")
    async with _life(tmp_path) as log:
        assert _names(tmp_path) == ["d"]
        await append(log, "a", b"1")
        assert await _outcome(log, "a", first, 0) == (RESET, 0)
        assert await _outcome(log, "d", first, 0) == (RESET, 0)


async def test_the_writer_holds_no_more_heads_in_memory_than_topics_that_have_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(append_transaction, "HEADS_KEPT", 2)
    async with _life(tmp_path) as log:
        for number in range(20):
            await _publish_and_expire(log, f"topic-{number}")
        await eventually(lambda: len(log._writer._transaction._heads) <= 2)
        assert await append(log, "topic-0", b"1") == 2
        assert [m.epoch for m in await log.read("topic-0", 0)] == [log.epoch]
        assert await end_of(log, log.epoch, "topic-0") == 2
