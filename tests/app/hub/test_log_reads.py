from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from riptide.encoding.formats import NDJSON
from riptide.errors import LogUnavailableError
from riptide.hub import log_reads
from riptide.hub.log_reads import READS_AT_ONCE, LogReads
from riptide.hub.right_of_way import RightOfWay
from riptide.storage.message_log import READ_MESSAGES, Retention
from tests.app.held_log import HeldLog
from tests.app.messages import published
from tests.waiting import eventually, in_time, time_flies, turns

if TYPE_CHECKING:
    from riptide.hub.chunk import Chunk
    from riptide.message import Message


class CountingLog(HeldLog):
    """A log that notes the places that are read."""

    def __init__(self) -> None:
        super().__init__(Retention(100_000, 3600))
        self.places: list[tuple[str, int]] = []

    async def read(self, topic: str, after: int) -> list[Message]:
        self.places.append((topic, after))
        return await super().read(topic, after)

    def fill(self, topic: str, count: int) -> None:
        self.append(published(topic, [b"1"] * count))


@pytest.fixture
def log() -> CountingLog:
    return CountingLog()


@pytest.fixture
def reads(log: CountingLog) -> LogReads:
    return LogReads(log, RightOfWay())


def _begin(
    reads: LogReads, topic: str, after: int, *, short: bool = False
) -> asyncio.Task[Chunk | None]:
    return asyncio.create_task(reads.read(topic, after, short=short))


async def test_consumers_at_the_same_place_share_one_read_and_its_encoding(
    log: CountingLog, reads: LogReads
) -> None:
    log.fill("a", 10)
    log.holding = True
    first = _begin(reads, "a", 0)
    await eventually(lambda: log.places)
    others = [_begin(reads, "a", 0) for _ in range(100)]
    await turns()
    log.let_read()
    chunks = await in_time(asyncio.gather(first, *others))
    log.holding = False
    assert await reads.read("a", 0, short=False) is chunks[0]
    assert len(set(map(id, chunks))) == 1
    assert log.places == [("a", 0)]


async def test_consumers_that_begin_at_different_places_soon_read_at_the_same_ones(
    log: CountingLog, reads: LogReads
) -> None:
    log.fill("a", READ_MESSAGES * 3)
    for after in range(0, READ_MESSAGES, 50):
        while (chunk := await reads.read("a", after, short=False)) is not None:
            after = chunk.last  # noqa: PLW2901  # as a consumer's cursor
    assert [place for place in log.places if place[1] == READ_MESSAGES] == [("a", READ_MESSAGES)]
    with_messages = {place for place in log.places if place[1] < READ_MESSAGES * 3}
    assert len(with_messages) == READ_MESSAGES // 50 + 2


async def test_a_newcomer_to_another_topic_does_not_wait_for_reads_of_all_who_catch_up(
    log: CountingLog, reads: LogReads
) -> None:
    log.fill("loud", 2000)
    log.fill("quiet", 1)
    log.holding = True
    loud = [_begin(reads, "loud", after) for after in range(0, 2000, 2)]
    await eventually(lambda: len(log.places) == READS_AT_ONCE)
    newcomers = [_begin(reads, "quiet", 0, short=True), _begin(reads, "other", 0)]
    await turns()
    log.holding = False
    log.let_read()
    await in_time(asyncio.gather(*newcomers, *loud))
    for topic in ("quiet", "other"):
        assert log.places.index((topic, 0)) < READS_AT_ONCE + 4


async def test_the_log_is_asked_for_few_reads_at_once(log: CountingLog, reads: LogReads) -> None:
    log.holding = True
    waiting = [_begin(reads, "a", after) for after in range(100)]
    await turns()
    assert len(log.places) == READS_AT_ONCE
    log.holding = False
    log.let_read()
    await in_time(asyncio.gather(*waiting))


async def test_what_came_after_a_read_had_begun_is_read_again(
    log: CountingLog, reads: LogReads
) -> None:
    log.holding = True
    early = _begin(reads, "a", 0)
    await eventually(lambda: log.places)
    log.fill("a", 1)
    late = _begin(reads, "a", 0)
    await turns()
    log.holding = False
    log.let_read()
    assert await in_time(early) is None
    chunk = await in_time(late)
    assert chunk is not None
    assert chunk.last == 1


async def test_all_who_wait_for_a_read_get_its_error_and_the_next_read_is_a_new_one(
    log: CountingLog, reads: LogReads
) -> None:
    log.fill("a", 1)
    log.fill("b", 1)
    log.broken = True
    outcomes = await in_time(
        asyncio.gather(*[_begin(reads, "a", 0) for _ in range(3)], return_exceptions=True)
    )
    assert [type(outcome) for outcome in outcomes] == [LogUnavailableError] * 3
    log.broken = False
    assert await reads.read("a", 0, short=False) is not None
    assert await reads.read("b", 0, short=False) is not None


async def test_what_nobody_waits_for_any_more_is_not_read(
    log: CountingLog, reads: LogReads
) -> None:
    log.holding = True
    under_way = [_begin(reads, "a", after) for after in range(READS_AT_ONCE)]
    await turns()
    gone, stays = _begin(reads, "b", 0), _begin(reads, "c", 0)
    await turns()
    gone.cancel()
    await turns()
    log.holding = False
    log.let_read()
    await in_time(asyncio.gather(*under_way, stays))
    assert ("b", 0) not in log.places
    await reads.read("b", 0, short=False)
    assert ("b", 0) in log.places


async def test_a_consumer_that_leaves_does_not_end_the_read_of_the_others(
    log: CountingLog, reads: LogReads
) -> None:
    log.fill("a", 1)
    log.holding = True
    gone, stays = _begin(reads, "a", 0), _begin(reads, "a", 0)
    await turns()
    gone.cancel()
    await turns()
    log.let_read()
    assert await in_time(stays) is not None


async def test_what_was_read_is_kept_for_a_while_only_and_counted_as_memory(
    log: CountingLog, reads: LogReads
) -> None:
    log.fill("a", 10)
    chunk = await reads.read("a", 0, short=False)
    assert chunk is not None
    chunk.batch(NDJSON, 10)
    assert reads.memory_bytes() == chunk.held_bytes > 0
    with time_flies():
        await eventually(lambda: not reads.memory_bytes())
    await reads.read("a", 0, short=False)
    assert log.places == [("a", 0)] * 2


async def test_the_oldest_is_given_up_once_too_many_bytes_are_kept(
    log: CountingLog, reads: LogReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_reads, "KEPT_BYTES", 100_000)
    for number in range(20):
        log.append(published(f"{number}", [b"1" * 10_000]))
        await reads.read(f"{number}", 0, short=False)
    assert 50_000 < reads.memory_bytes() <= 100_000
    await reads.read("19", 0, short=False)
    await reads.read("0", 0, short=False)
    assert log.places.count(("19", 0)) == 1
    assert log.places.count(("0", 0)) == 2
