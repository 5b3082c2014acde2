"""What a worker follows, through processes of the log that come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from riptide.encoding.formats import NDJSON
from riptide.errors import (
    LogUnavailableError,
)
from riptide.hub.batch import Batch
from riptide.hub.hub import Hub
from riptide.hub.ring import RingLimits
from riptide.hub.stream_range import StreamRange
from riptide.message import Edge
from riptide.storage.memory import MemoryLog
from riptide.storage.shared import followed_topics, link
from riptide.storage.shared.client import SharedLog
from riptide_telemetry import Lifecycle
from tests.app.storage.appending import append
from tests.app.storage.feed import ListFeed
from tests.app.storage.shared.sharing import (
    KEEP,
    Life,
    SlowToPlace,
    keep_meanwhile,
    serving,
    sqlite_log,
)
from tests.waiting import eventually, in_time, turns

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from riptide.hub.subscription import Subscription
    from riptide.message import MessageId
    from riptide.storage.message_log import IdState


def _hub(log: SharedLog) -> Hub:
    return Hub(log, Lifecycle(), RingLimits(100, 1_000_000))


async def _take(subscription: Subscription, last: int) -> list[int]:
    """Return the numbers that a consumer is given until it has had ``last``."""
    numbers: list[int] = []
    while subscription.cursor < last:
        item = await in_time(subscription.next())
        if isinstance(item, Batch):
            numbers += range(item.after + 1, item.last + 1)
            subscription.advance(item)
        else:
            assert item is None
    assert subscription.unaccounted == 0
    return numbers


async def test_consumers_get_what_was_kept_while_the_process_was_replaced_once_and_in_order(
    shared: SharedLog, listener: socket.socket, tmp_path: Path
) -> None:
    hub = _hub(shared)
    async with Life(sqlite_log(tmp_path), listener, shared):
        await append(shared, "a", b"1", b"2")
        start = await hub.subscribe("a", NDJSON, StreamRange(Edge.EARLIEST))
        assert await _take(start.subscription, 2) == [1, 2]
    # Another worker is quicker.
    await keep_meanwhile(tmp_path, b"3", b"4")
    async with Life(sqlite_log(tmp_path), listener, shared) as log:
        assert await _take(start.subscription, 4) == [3, 4]
        await append(shared, "a", b"5")
        await append(log, "a", b"6")
        assert await _take(start.subscription, 6) == [5, 6]
    hub.unsubscribe(start.subscription)


async def test_a_feed_is_pushed_the_newest_message_that_it_missed_and_no_number_twice(
    shared: SharedLog, listener: socket.socket, tmp_path: Path
) -> None:
    feed = ListFeed()
    async with Life(sqlite_log(tmp_path), listener, shared):
        await in_time(shared.follow("a", feed))
        await append(shared, "a", b"1")
        await eventually(lambda: feed.sequences == [1])
    async with Life(sqlite_log(tmp_path), listener, shared):
        await append(shared, "a", b"2")
        await eventually(lambda: feed.sequences == [1, 2])
    await keep_meanwhile(tmp_path, b"3", b"4", b"5")
    async with Life(sqlite_log(tmp_path), listener, shared):
        await eventually(lambda: feed.sequences == [1, 2, 5])
        await append(shared, "a", b"6")
        await eventually(lambda: feed.sequences == [1, 2, 5, 6])
    assert feed.losses == 0


@pytest.mark.parametrize("kept_meanwhile", [0, 1, 2, 9])
async def test_a_log_that_came_back_empty_is_another_log_however_many_messages_it_has(
    shared: SharedLog, listener: socket.socket, kept_meanwhile: int
) -> None:
    feed = ListFeed()
    async with Life(MemoryLog(KEEP), listener, shared):
        await in_time(shared.follow("a", feed))
        await append(shared, "a", b"1", b"2")
        await eventually(lambda: feed.sequences == [1, 2])
    new = MemoryLog(KEEP)
    for _ in range(kept_meanwhile):
        await append(new, "a", b"new")
    async with Life(new, listener, shared):
        await eventually(lambda: feed.losses)
        assert feed.sequences == [1, 2]
        await append(shared, "a", b"3")
        await eventually(lambda: feed.sequences == [1, 2, kept_meanwhile + 1])
    assert feed.losses == 1


async def test_nothing_of_another_log_is_pushed_before_feeds_know_that_theirs_is_lost(
    path: Path, shared: SharedLog, listener: socket.socket
) -> None:
    feed, elsewhere = ListFeed(), ListFeed()
    async with Life(MemoryLog(KEEP), listener, shared):
        await in_time(shared.follow("a", feed))
        await append(shared, "a", b"1")
        await eventually(lambda: feed.sequences == [1])
    new = SlowToPlace(KEEP)
    other = SharedLog(path)
    async with Life(new, listener, shared):
        await in_time(other.open())
        await in_time(other.follow("a", elsewhere))
        await in_time(new.asked.wait())
        await append(other, "a", b"2", b"3")
        await eventually(lambda: elsewhere.sequences == [1, 2])
        # The record has reached this worker too: answers come behind it.
        await in_time(shared.bounds("a"))
        await turns()
        assert (feed.sequences, feed.losses) == ([1], 0)
        new.goes_on.set()
        await eventually(lambda: feed.losses)
        await append(other, "a", b"4")
        await eventually(lambda: feed.sequences == [1, 3])
        await other.close()


async def test_a_slow_worker_is_cut_off_and_fills_its_gap(
    shared: SharedLog, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "LIMIT_BYTES", 200_000)
    hub = _hub(shared)
    async with Life(MemoryLog(KEEP), listener, shared) as log:
        start = await hub.subscribe("a", NDJSON, StreamRange(Edge.EARLIEST))
        its_link = shared._link
        assert its_link is not None
        assert its_link._transport is not None
        its_link._transport.pause_reading()
        for _ in range(40):
            await append(log, "a", b"x" * 50_000)
        its_link._transport.resume_reading()
        assert await _take(start.subscription, 40) == list(range(1, 41))
        assert shared._link is not its_link
        await append(shared, "a", b"41")
        assert await _take(start.subscription, 41) == [41]
        hub.unsubscribe(start.subscription)


async def test_topics_that_nobody_follows_any_more_are_left(
    shared: SharedLog, listener: socket.socket
) -> None:
    feed, second = ListFeed(), ListFeed()
    log = MemoryLog(KEEP)
    async with Life(log, listener, shared):
        await in_time(shared.follow("a", feed))
        await in_time(shared.follow("a", second))
        shared.unfollow("a", feed)
        shared.unfollow("a", feed)
        await append(shared, "a", b"1")
        await eventually(lambda: second.sequences == [1])
        shared.unfollow("a", second)
        await eventually(lambda: not log._feeds._by_topic)
    assert feed.sequences == []


class FailsToPlace(MemoryLog):
    """A log that cannot be read a few times."""

    failures = 0

    async def place(self, topic: str, position: MessageId) -> IdState:
        if self.failures:
            self.failures -= 1
            raise LogUnavailableError("the disk fails", retry_after=1)
        return await super().place(topic, position)


async def test_a_topic_is_followed_again_as_soon_as_the_log_can_be_read(
    shared: SharedLog,
    listener: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(followed_topics, "RETRY_S", 0.01)
    feed, log = ListFeed(), FailsToPlace(KEEP)
    async with serving(log, listener):
        await eventually(lambda: shared._link is not None)
        await in_time(shared.follow("a", feed))
        await append(shared, "a", b"1")
        await eventually(lambda: feed.sequences == [1])
    await eventually(lambda: shared._link is None)
    await append(log, "a", b"2", b"3")
    log.failures = 3
    async with serving(log, listener):
        await eventually(lambda: feed.sequences == [1, 3])
    assert caplog.text.count("cannot be followed again yet") == 1
    assert (log.failures, feed.losses, sum(shared.connection.gaps.values())) == (0, 0, 1)
