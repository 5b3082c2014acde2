"""A worker's log through what happens to the process that keeps it.

What it promises as a ``MessageLog`` is tested in tests/app/storage/test_message_log.py.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from riptide.encoding.formats import NDJSON
from riptide.errors import (
    DamagedMessagesError,
    LogUnavailableError,
    TopicLimitError,
    UncertainAppendError,
)
from riptide.hub.batch import Batch
from riptide.hub.hub import Hub
from riptide.hub.ring import RingLimits
from riptide.hub.stream_range import StreamRange
from riptide.message import Edge
from riptide.storage.memory import MemoryLog
from riptide.storage.message_log import Bounds, Retention
from riptide.storage.shared import client, link, server
from riptide.storage.shared.client import SharedLog
from riptide.storage.sqlite import SqliteLog
from riptide_telemetry import Lifecycle, ServicePart
from tests.app.messages import published
from tests.app.storage.appending import append
from tests.app.storage.feed import ListFeed
from tests.app.storage.shared.sharing import listen, serving
from tests.waiting import eventually, in_time, turns

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from riptide.hub.subscription import Subscription
    from riptide.message import Message, MessageId, Receipt
    from riptide.publication import Publication
    from riptide.storage.message_log import IdState

KEEP = Retention(1000, 3600, 10)


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


def _sqlite(tmp_path: Path) -> SqliteLog:
    return SqliteLog(tmp_path / "data", KEEP)


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


async def test_a_log_waits_for_its_first_process(
    shared: SharedLog, listener: socket.socket
) -> None:
    appended = shared.append(published("a", [b"1"]))
    asked = asyncio.create_task(shared.bounds("b"))
    await turns()
    assert not appended.done()
    async with Life(MemoryLog(KEEP), listener, shared):
        assert (await in_time(appended)).first.sequence == 1
        assert await in_time(asked) == Bounds(1, 0)
        assert shared.unavailable_reason() is None


async def test_consumers_get_what_was_kept_while_the_process_was_replaced_once_and_in_order(
    shared: SharedLog, listener: socket.socket, tmp_path: Path
) -> None:
    hub = _hub(shared)
    async with Life(_sqlite(tmp_path), listener, shared):
        await append(shared, "a", b"1", b"2")
        start = await hub.subscribe("a", NDJSON, StreamRange(Edge.EARLIEST))
        assert await _take(start.subscription, 2) == [1, 2]
    # Another worker is quicker.
    between = _sqlite(tmp_path)
    await between.open()
    await append(between, "a", b"3", b"4")
    await between.close()
    async with Life(_sqlite(tmp_path), listener, shared) as log:
        assert await _take(start.subscription, 4) == [3, 4]
        await append(shared, "a", b"5")
        await append(log, "a", b"6")
        assert await _take(start.subscription, 6) == [5, 6]
    hub.unsubscribe(start.subscription)


async def test_a_feed_is_pushed_the_newest_message_that_it_missed_and_no_number_twice(
    shared: SharedLog, listener: socket.socket, tmp_path: Path
) -> None:
    feed = ListFeed()
    async with Life(_sqlite(tmp_path), listener, shared):
        await in_time(shared.follow("a", feed))
        await append(shared, "a", b"1")
        await eventually(lambda: feed.sequences == [1])
    async with Life(_sqlite(tmp_path), listener, shared):
        await append(shared, "a", b"2")
        await eventually(lambda: feed.sequences == [1, 2])
    between = _sqlite(tmp_path)
    await between.open()
    await append(between, "a", b"3", b"4", b"5")
    await between.close()
    async with Life(_sqlite(tmp_path), listener, shared):
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


class SlowToPlace(MemoryLog):
    """A log that says late whether an id is its own."""

    def __init__(self, retention: Retention) -> None:
        super().__init__(retention)
        self.asked, self.goes_on = asyncio.Event(), asyncio.Event()

    async def place(self, topic: str, position: MessageId) -> IdState:
        self.asked.set()
        await self.goes_on.wait()
        return await super().place(topic, position)


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


class Keeps(MemoryLog):
    """A log that answers no append before it is told to."""

    def __init__(self, retention: Retention) -> None:
        super().__init__(retention)
        self.waiting: list[asyncio.Future[Receipt]] = []

    def append(self, publication: Publication) -> asyncio.Future[Receipt]:
        del publication
        self.waiting.append(asyncio.get_running_loop().create_future())
        return self.waiting[-1]


async def test_of_appends_that_were_sent_nobody_knows_and_others_wait_for_the_next_process(
    shared: SharedLog, listener: socket.socket
) -> None:
    silent = Keeps(KEEP)
    async with Life(silent, listener, shared):
        sent = shared.append(published("a", [b"1"]))
        await eventually(lambda: silent.waiting)
    with pytest.raises(UncertainAppendError, match="ended before it had answered"):
        await in_time(sent)
    unsent = [shared.append(published("a", [b"%d" % n])) for n in range(3)]
    await turns()
    assert not any(append.done() for append in unsent)
    async with Life(MemoryLog(KEEP), listener, shared):
        receipts = [await in_time(append) for append in unsent]
        assert [receipt.first.sequence for receipt in receipts] == [1, 2, 3]
    assert shared.oldest_append_age_s() == 0


async def test_appends_that_were_not_sent_are_refused_once_patience_has_ended(
    shared: SharedLog, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PATIENCE_S", 0.3)
    monkeypatch.setattr(client, "CHECK_INTERVAL_S", 0.02)
    async with Life(MemoryLog(KEEP), listener, shared):
        pass
    watching = asyncio.create_task(shared.watch())
    unsent = shared.append(published("a", [b"1"]))
    with pytest.raises(LogUnavailableError, match="was not published"):
        await in_time(unsent)
    await eventually(lambda: shared.unavailable_reason() is not None)
    assert "has not been there for" in str(shared.unavailable_reason())
    with pytest.raises(LogUnavailableError, match="was not published"):
        await in_time(shared.append(published("a", [b"2"])))
    async with Life(MemoryLog(KEEP), listener, shared) as log:
        assert shared.unavailable_reason() is None
        assert await append(shared, "a", b"3") == 1
        assert await log.bounds("a") == Bounds(1, 1)
    watching.cancel()


async def test_questions_are_asked_again_until_a_process_answers(
    shared: SharedLog, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaf = SlowToPlace(KEEP)
    async with Life(deaf, listener, shared):
        place = asyncio.create_task(shared.place("a", published("a", []).receipt("0" * 8, 1).first))
        await in_time(deaf.asked.wait())
    between = asyncio.create_task(shared.names("", 10))
    await turns()
    assert not place.done()
    new = MemoryLog(KEEP)
    await append(new, "b", b"1")
    async with Life(new, listener, shared):
        assert (await in_time(place)).value == "never"
        assert await in_time(between) == ["b"]
    monkeypatch.setattr(client, "ASK_TIMEOUT_S", 0.05)
    with pytest.raises(LogUnavailableError, match="has not answered for"):
        await in_time(shared.bounds("a"))
    assert not shared._questions


async def test_a_process_that_does_not_answer_makes_the_worker_unready(
    shared: SharedLog, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "LIMIT_S", 0.2)
    async with Life(MemoryLog(KEEP), listener, shared):
        await eventually(lambda: shared.unavailable_reason() is not None)
        assert "has not answered for" in str(shared.unavailable_reason())
        with pytest.raises(LogUnavailableError, match="was not published"):
            await in_time(shared.append(published("a", [b"1"])))
        monkeypatch.setattr(server, "STATE_INTERVAL_S", 0.01)
        await eventually(lambda: shared.unavailable_reason() is None)


async def test_the_state_of_the_log_is_that_of_each_worker(
    shared: SharedLog, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "STATE_INTERVAL_S", 0.01)
    log = MemoryLog(KEEP)
    async with Life(log, listener, shared):
        monkeypatch.setattr(log, "unavailable_reason", lambda: "the disk is full")
        monkeypatch.setattr(log, "clock_doubt", lambda: "the clock was set back")
        log.damage.unreadable_messages, log.damage.lost_frames = 3, 4
        for number, name in enumerate(
            ("size_bytes", "wal_bytes", "free_bytes", "checkpoint_age_s", "append_stall_s"), 10
        ):
            monkeypatch.setattr(log, name, lambda number=number: number)
        await eventually(shared.clock_doubt)
        assert shared.unavailable_reason() == "the disk is full"
        assert (shared.damage.unreadable_messages, shared.damage.lost_frames) == (3, 4)
        assert (shared.size_bytes(), shared.wal_bytes(), shared.free_bytes()) == (10, 11, 12)
        assert (shared.checkpoint_age_s(), shared.append_stall_s()) == (13, 14)


async def test_errors_of_the_log_keep_their_class(
    shared: SharedLog, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def damaged(*_: object) -> list[Message]:
        raise DamagedMessagesError("a", 3, 4)

    async with Life(MemoryLog(Retention(10, 3600, 1)), listener, shared):
        await append(shared, "a", b"1")
        with pytest.raises(TopicLimitError, match="RIPTIDE_MAX_TOPICS") as limit:
            await in_time(shared.append(published("b", [b"1"])))
        assert limit.value.retry_after == 60
        monkeypatch.setattr(MemoryLog, "read", damaged)
        with pytest.raises(DamagedMessagesError) as error:
            await in_time(shared.read("a", 2))
        assert (error.value.topic, error.value.first, error.value.last) == ("a", 3, 4)


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


async def test_a_process_of_another_version_is_not_talked_to(
    shared: SharedLog,
    listener: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(client, "RETRY_S", 0.01)
    begin = shared._begin
    monkeypatch.setattr(shared, "_begin", lambda version: begin(version + 1))
    async with serving(MemoryLog(KEEP), listener):
        await eventually(lambda: "of another version: restart the service" in caplog.text)
        assert shared._link is None
        monkeypatch.setattr(shared, "_begin", begin)
        assert await append(shared, "a", b"1") == 1


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


async def test_appends_that_wait_at_the_end_are_waited_for(
    path: Path, listener: socket.socket
) -> None:
    async with serving(MemoryLog(KEEP), listener):
        log = SharedLog(path)
        await in_time(log.open())
        appended = log.append(published("a", [b"1"]))
        await in_time(log.close())
        assert appended.result().first.sequence == 1


async def test_it_counts_how_the_process_of_the_log_was_reached(
    shared: SharedLog, listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = ListFeed()
    assert not shared.connection.is_up
    async with Life(_sqlite(tmp_path), listener, shared):
        assert (shared.connection.is_up, shared.connection.reconnects) == (True, 0)
        await in_time(shared.follow("a", feed))
        assert shared.followed_count() == 1
        await append(shared, "a", b"1")
        await eventually(lambda: feed.sequences == [1])
    assert not shared.connection.is_up
    async with Life(_sqlite(tmp_path), listener, shared):
        assert (shared.connection.is_up, shared.connection.reconnects) == (True, 1)
        await append(shared, "a", b"2")
        await eventually(lambda: feed.sequences == [1, 2])
        assert shared.connection.gaps == 0
    between = _sqlite(tmp_path)
    await between.open()
    await append(between, "a", b"3")
    await between.close()
    async with Life(_sqlite(tmp_path), listener, shared):
        await eventually(lambda: feed.sequences == [1, 2, 3])
        assert (shared.connection.reconnects, shared.connection.gaps) == (2, 1)
        monkeypatch.setattr(client, "LIMIT_S", -1.0)
        assert not shared.connection.is_up


async def test_a_fault_of_the_log_s_process_is_told_and_does_not_end_the_worker(
    shared: SharedLog, listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(MemoryLog(KEEP), listener) as served:
        await eventually(lambda: shared._link is not None)
        served.tell_fault(ServicePart.LOG_WRITER)
        await eventually(lambda: "a fault of Riptide in log_writer has ended" in caplog.text)
    assert shared._faults.first is None


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
    monkeypatch.setattr(client, "CHECK_INTERVAL_S", 0.01)
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
    assert (log.failures, feed.losses, shared.connection.gaps) == (0, 0, 1)
