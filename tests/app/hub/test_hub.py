from __future__ import annotations

import asyncio
import contextlib
import gc
import sqlite3
import time
import weakref
from typing import TYPE_CHECKING

import pytest

from riptide.encoding.formats import NDJSON
from riptide.errors import LogUnavailableError
from riptide.hub import hub as hub_module
from riptide.hub import right_of_way
from riptide.hub.batch import Batch
from riptide.hub.hub import Hub
from riptide.hub.ring import RingLimits
from riptide.hub.stream_range import StreamRange
from riptide.message import Edge, MessageId
from riptide.publication import Publication
from riptide.storage.memory import MemoryLog
from riptide.storage.message_log import Retention
from riptide.storage.sqlite import SqliteLog
from riptide_telemetry import DropReason, ReconnectionOutcome
from tests.app.held_log import HeldLog
from tests.app.messages import make_messages, published
from tests.waiting import in_time, turns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from riptide.hub.hub import Start
    from riptide.hub.subscription import Subscription
    from riptide.message import Position
    from riptide.storage.message_log import ListedTopic
    from tests.app.recorder import Recorder


async def _subscribe(hub: Hub, position: Position, topic: str = "a") -> Start:
    return await hub.subscribe(topic, NDJSON, StreamRange(position))


async def _take(subscription: Subscription) -> bytes:
    """Take a batch as a session does, and return its frames."""
    while True:
        step = await in_time(subscription.next())
        if isinstance(step, Batch):
            subscription.advance(step)
            return b"".join(step.frames)
        assert step is None, "nothing was missed"


@pytest.fixture
def held_log() -> HeldLog:
    return HeldLog(Retention(1000, 3600))


@pytest.fixture
def held_hub(held_log: HeldLog, recorder: Recorder) -> Hub:
    return Hub(held_log, recorder.lifecycle, RingLimits(10, 100_000))


async def test_a_publisher_is_told_the_first_and_the_last_id(hub: Hub, log: MemoryLog) -> None:
    await hub.publish(Publication.now("a", [b"0"]))
    receipt = await hub.publish(Publication.now("a", [b"1", b"2", b"3"]))
    assert receipt == (MessageId(log.epoch, 2), MessageId(log.epoch, 4))


async def test_consumers_of_a_topic_get_it_and_those_of_others_do_not(hub: Hub) -> None:
    subscriptions = [(await _subscribe(hub, Edge.LATEST, name)).subscription for name in "ab"]
    await hub.publish(Publication.now("a", [b"1"]))
    assert [subscription.queued for subscription in subscriptions] == [1, 0]


async def test_a_publisher_hears_of_it_before_consumers_are_woken(
    held_hub: Hub, held_log: HeldLog
) -> None:
    order: list[str] = []
    start = await _subscribe(held_hub, Edge.LATEST)

    async def consume() -> None:
        await start.subscription.next()
        order.append("consumer")

    async def publish() -> None:
        await held_hub.publish(Publication.now("a", [b"1"]))
        order.append("publisher")

    tasks = [asyncio.create_task(consume()), asyncio.create_task(publish())]
    await turns()
    held_log.acknowledge()
    await asyncio.gather(*tasks)
    assert order == ["publisher", "consumer"]


async def test_nobody_is_sent_what_the_log_has_not_acknowledged(
    held_hub: Hub, held_log: HeldLog
) -> None:
    start = await _subscribe(held_hub, Edge.LATEST)
    publishing = asyncio.create_task(held_hub.publish(Publication.now("a", [b"1"])))
    await turns()
    assert start.subscription.queued == 0
    assert held_hub.memory_bytes() == 1
    held_log.refuse()
    with pytest.raises(LogUnavailableError):
        await publishing
    await turns()
    assert start.subscription.queued == 0
    assert held_hub.memory_bytes() == 0


@pytest.mark.parametrize("is_waiting", [True, False])
async def test_a_message_that_was_refused_and_kept_all_the_same_comes_in_its_turn(
    held_hub: Hub, held_log: HeldLog, *, is_waiting: bool
) -> None:
    """Its publisher was told that it may have been kept; the ring never gets it."""
    subscription = (await _subscribe(held_hub, Edge.EARLIEST)).subscription
    first = asyncio.create_task(held_hub.publish(Publication.now("a", [b"1"])))
    await turns()
    held_log.acknowledge()
    await first
    got = [] if is_waiting else [await _take(subscription)]
    waiting = asyncio.create_task(subscription.next())
    await turns()
    for payload in (b"2", b"3"):
        publishing = asyncio.create_task(held_hub.publish(Publication.now("a", [payload])))
        await turns()
        held_log.acknowledge() if payload == b"3" else held_log.refuse()
        await asyncio.gather(publishing, return_exceptions=True)
    waiting.cancel()
    while subscription.queued:
        got.append(await _take(subscription))
    assert b"".join(got).count(b"data") == 3
    assert subscription.sent == 3


@pytest.mark.parametrize("fate", ["acknowledge", "refuse"])
async def test_a_publisher_that_is_cancelled_mid_append_leaves_a_whole_hub(
    held_hub: Hub, held_log: HeldLog, fate: str
) -> None:
    start = await _subscribe(held_hub, Edge.LATEST)
    publishing = asyncio.create_task(held_hub.publish(Publication.now("a", [b"1"])))
    await turns()
    publishing.cancel()
    await turns()
    getattr(held_log, fate)()
    await turns()
    assert publishing.cancelled()
    assert start.subscription.queued == (1 if fate == "acknowledge" else 0)
    pending = held_hub.memory_bytes()
    held_hub.unsubscribe(start.subscription)
    assert held_hub.memory_bytes() == 0
    assert pending >= start.subscription.queued


async def test_a_resumed_consumer_is_told_so_and_gets_what_follows_its_id(hub: Hub) -> None:
    receipt = await hub.publish(Publication.now("a", [b"1", b"2", b"3"]))
    start = await _subscribe(hub, receipt.first)
    assert (start.reconnection, start.missed_count) == (ReconnectionOutcome.RESUMED, 0)
    assert start.subscription.queued == 2
    at_head = await _subscribe(hub, receipt.last)
    assert at_head.reconnection is ReconnectionOutcome.RESUMED
    assert at_head.subscription.queued == 0


async def test_sequence_0_is_before_the_first_message_and_misses_nothing(
    hub: Hub, log: MemoryLog
) -> None:
    await hub.publish(Publication.now("a", [b"1"]))
    start = await _subscribe(hub, MessageId(log.epoch, 0))
    assert (start.reconnection, start.missed_count) == (ReconnectionOutcome.RESUMED, 0)
    assert start.subscription.queued == 1


async def test_a_consumer_whose_next_messages_have_expired_is_told_how_many(
    recorder: Recorder,
) -> None:
    log = HeldLog(Retention(2, 3600))
    hub = Hub(log, recorder.lifecycle, RingLimits(10, 100_000))
    publishing = asyncio.create_task(
        hub.publish(Publication.now("a", [b"%d" % n for n in range(1, 6)]))
    )
    await turns()
    log.acknowledge()
    await publishing
    start = await _subscribe(hub, MessageId(log.epoch, 1))
    assert (start.reconnection, start.missed_count) == (ReconnectionOutcome.GAP, 2)
    assert start.subscription.dropped == 2
    assert start.subscription.queued == 2
    assert start.subscription.unaccounted == 0
    edge = await _subscribe(hub, MessageId(log.epoch, 3))
    assert (edge.reconnection, edge.missed_count) == (ReconnectionOutcome.RESUMED, 0)


@pytest.mark.parametrize(("epoch", "sequence"), [("ffffffff", 1), (None, 4)])
async def test_a_position_of_another_log_or_ahead_of_this_one_begins_anew(
    hub: Hub, log: MemoryLog, epoch: str | None, sequence: int
) -> None:
    await hub.publish(Publication.now("a", [b"1", b"2", b"3"]))
    start = await _subscribe(hub, MessageId(epoch or log.epoch, sequence))
    assert start.reconnection is ReconnectionOutcome.RESET
    assert (start.subscription.queued, start.subscription.dropped) == (3, 0)


@pytest.mark.parametrize("republished", [0, 1, 2, 3])
async def test_a_log_that_has_lost_its_end_resets_whoever_saw_that_and_nobody_else(
    tmp_path: Path, recorder: Recorder, republished: int
) -> None:
    retention = Retention(1000, 3600)
    log = SqliteLog(tmp_path / "data", retention)
    await log.open()
    lost = log.epoch
    hub = Hub(log, recorder.lifecycle, RingLimits(10, 100_000))
    await hub.publish(Publication.now("a", [b"1", b"2"]))
    with (
        contextlib.closing(sqlite3.connect(tmp_path / "data" / "riptide.db")) as source,
        contextlib.closing(sqlite3.connect(tmp_path / "copy")) as copy,
    ):
        source.backup(copy)
    await hub.publish(Publication.now("a", [b"3", b"4"]))
    await log.close()
    # By hand, as with a snapshot of the disk.
    (tmp_path / "copy").rename(tmp_path / "data" / "riptide.db")
    log = SqliteLog(tmp_path / "data", retention)
    await log.open()
    hub = Hub(log, recorder.lifecycle, RingLimits(10, 100_000))
    for _ in range(republished):
        await hub.publish(Publication.now("a", [b"new"]))
    outcomes = {}
    for sequence in range(5):
        start = await _subscribe(hub, MessageId(lost, sequence))
        outcomes[sequence] = (start.reconnection, start.subscription.queued)
        hub.unsubscribe(start.subscription)
    everything = 2 + republished
    assert outcomes == {
        0: (ReconnectionOutcome.RESUMED, everything),
        1: (ReconnectionOutcome.RESUMED, everything - 1),
        2: (ReconnectionOutcome.RESUMED, everything - 2),
        3: (ReconnectionOutcome.RESET, everything),
        4: (ReconnectionOutcome.RESET, everything),
    }
    await log.close()


@pytest.mark.parametrize(("edge", "queued"), [(Edge.EARLIEST, 2), (Edge.LATEST, 0)])
async def test_who_gives_no_id_has_not_reconnected(hub: Hub, edge: Edge, queued: int) -> None:
    await hub.publish(Publication.now("a", [b"1", b"2"]))
    start = await _subscribe(hub, edge)
    assert (start.reconnection, start.missed_count) == (None, 0)
    assert start.subscription.queued == queued
    # And so for the next one, who finds the topic in memory.
    again = await _subscribe(hub, edge)
    assert again.subscription.queued == queued


async def test_a_topic_is_in_memory_while_it_has_consumers(hub: Hub, recorder: Recorder) -> None:
    await hub.publish(Publication.now("a", [b"1"]))
    assert hub.topic_count() == 0
    first, second = await _subscribe(hub, Edge.LATEST), await _subscribe(hub, Edge.LATEST)
    await hub.publish(Publication.now("a", [b"2"]))
    hub.unsubscribe(first.subscription)
    assert hub.topic_count() == 1
    assert hub.memory_bytes() > 0
    hub.unsubscribe(second.subscription)
    assert hub.topic_count() == 0
    assert hub.memory_bytes() == 0
    assert recorder.of("messages_unaccounted", "count") == [(0,), (0,)]


async def test_a_failed_or_cancelled_subscription_leaves_no_topic_behind(
    held_hub: Hub, held_log: HeldLog
) -> None:
    held_log.broken = True
    with pytest.raises(LogUnavailableError):
        await _subscribe(held_hub, Edge.EARLIEST)
    assert held_hub.topic_count() == 0
    held_log.broken, held_log.holding = False, True
    loading = asyncio.create_task(_subscribe(held_hub, Edge.EARLIEST))
    await turns()
    assert held_hub.topic_count() == 1
    loading.cancel()
    await turns()
    assert held_hub.topic_count() == 0
    assert held_hub._pinned == {}


async def test_a_push_while_a_topic_loads_is_there_for_its_first_consumer(
    held_hub: Hub, held_log: HeldLog
) -> None:
    held_log.holding = True
    loading = asyncio.create_task(_subscribe(held_hub, Edge.EARLIEST))
    await turns()
    publishing = asyncio.create_task(held_hub.publish(Publication.now("a", [b"1"])))
    await turns()
    held_log.acknowledge()
    await publishing
    held_log.holding = False
    held_log.let_read()
    subscription = (await loading).subscription
    step = await subscription.next()
    assert isinstance(step, Batch)
    assert (step.count, step.last) == (1, 1)


async def test_a_consumer_that_comes_between_commit_and_delivery_confuses_no_other(
    held_hub: Hub, held_log: HeldLog
) -> None:
    first = (await _subscribe(held_hub, Edge.LATEST)).subscription
    got = b""
    for number in range(1, 5):
        publishing = asyncio.create_task(held_hub.publish(Publication.now("a", [b"%d" % number])))
        await turns()
        if number == 2:
            await _subscribe(held_hub, Edge.EARLIEST)
        held_log.acknowledge()
        await publishing
        while first.queued:
            step = await first.next()
            assert isinstance(step, Batch)
            first.advance(step)
            got += b"".join(step.frames)
    assert [line[-2:-1] for line in got.splitlines()] == [b"1", b"2", b"3", b"4"]


async def test_a_consumer_that_waits_is_woken_for_what_another_found_in_the_log_first(
    held_hub: Hub, held_log: HeldLog
) -> None:
    first = (await _subscribe(held_hub, Edge.EARLIEST)).subscription
    waiting = asyncio.create_task(first.next())
    publishing = asyncio.create_task(held_hub.publish(Publication.now("a", [b"1"])))
    await turns()
    await _subscribe(held_hub, Edge.EARLIEST)
    held_log.acknowledge()
    await publishing
    await turns()
    woken = waiting.done()
    waiting.cancel()
    assert woken
    assert first.queued == 1


async def test_lag_is_the_largest_and_queued_the_sum_over_consumers(hub: Hub) -> None:
    assert (hub.consumer_lag(), hub.queued_messages()) == (0, 0)
    ahead = (await _subscribe(hub, Edge.LATEST)).subscription
    await _subscribe(hub, Edge.LATEST)
    await _subscribe(hub, Edge.LATEST, "b")
    await hub.publish(Publication.now("a", [b"1", b"2", b"3"]))
    step = await ahead.next()
    assert isinstance(step, Batch)
    ahead.advance(step, 0, 2)
    assert (hub.consumer_lag(), hub.queued_messages()) == (3, 4)


async def test_a_cursor_is_an_id_from_which_to_resume(hub: Hub, log: MemoryLog) -> None:
    await hub.publish(Publication.now("a", [b"1", b"2"]))
    subscription = (await _subscribe(hub, Edge.EARLIEST)).subscription
    assert hub.cursor_id(subscription) == MessageId(log.epoch, 0)
    subscription.miss(1, DropReason.EXPIRED)
    assert hub.cursor_id(subscription) == MessageId(log.epoch, 1)


async def test_a_cursor_has_the_epoch_of_the_message_at_it(hub: Hub, log: MemoryLog) -> None:
    """Not that of the process which holds it: messages may come from elsewhere."""
    subscription = (await _subscribe(hub, Edge.LATEST)).subscription
    topic = hub._topics["a"]
    topic.push(make_messages(1, 2, epoch="aaaaaaaa"))
    topic.push(make_messages(3, 3, epoch="bbbbbbbb"))
    step = await subscription.next()
    assert isinstance(step, Batch)
    for end, epoch in ((1, "aaaaaaaa"), (2, "aaaaaaaa"), (3, "bbbbbbbb")):
        subscription.advance(step, end - 1, end)
        assert hub.cursor_id(subscription) == MessageId(epoch, end)
    waiting = asyncio.create_task(subscription.next())
    await turns()
    topic.push(make_messages(4, 4, epoch="cccccccc"))
    await in_time(waiting)
    await _take(subscription)
    assert hub.cursor_id(subscription) == MessageId("cccccccc", 4)
    resumed = await _subscribe(hub, MessageId(log.epoch, 0))
    assert hub.cursor_id(resumed.subscription).epoch == log.epoch


async def test_streams_end_when_the_log_has_lost_what_they_have_had_and_others_begin_anew(
    hub: Hub, log: MemoryLog
) -> None:
    subscriptions = [(await _subscribe(hub, Edge.LATEST)).subscription for _ in range(2)]
    hub._topics["a"].push(make_messages(1, 5, epoch="aaaaaaaa"))
    await _take(subscriptions[0])
    waiting = asyncio.create_task(subscriptions[0].next())
    await turns()
    hub._topics["a"].lost()
    assert await in_time(waiting) is None
    for subscription in subscriptions:
        with pytest.raises(LogUnavailableError, match="has lost messages"):
            await in_time(subscription.next())
    assert [subscription.unaccounted for subscription in subscriptions] == [0, 0]
    start = await _subscribe(hub, MessageId("aaaaaaaa", 5))
    assert start.reconnection is ReconnectionOutcome.RESET
    await hub.publish(Publication.now("a", [b"1"]))
    assert hub.cursor_id(start.subscription) == MessageId(log.epoch, 0)
    await _take(start.subscription)
    assert hub.cursor_id(start.subscription) == MessageId(log.epoch, 1)


async def test_every_append_is_timed_whether_it_succeeds_or_not(
    held_hub: Hub, held_log: HeldLog, recorder: Recorder
) -> None:
    for fate in (held_log.acknowledge, held_log.refuse):
        publishing = asyncio.create_task(held_hub.publish(Publication.now("a", [b"1"])))
        await turns()
        fate()
        await asyncio.gather(publishing, return_exceptions=True)
    assert len(recorder.of("log_appended")) == 2
    assert all(seconds >= 0 for (seconds,) in recorder.of("log_appended", "seconds"))


async def test_a_topic_without_consumers_holds_no_message_even_before_it_is_collected(
    hub: Hub,
) -> None:
    subscription = (await hub.subscribe("a", NDJSON, StreamRange(Edge.LATEST))).subscription
    await hub.publish(Publication.now("a", [b"1", b"2"]))
    step = await subscription.next()
    assert isinstance(step, Batch)
    batch = weakref.ref(step)
    del step
    assert hub.memory_bytes() > 0
    topic = weakref.ref(hub._topics["a"])
    # A topic in a cycle of references would stay until the collector of cycles runs.
    gc.disable()
    try:
        hub.unsubscribe(subscription)
        assert hub.memory_bytes() == 0
        assert subscription.unaccounted == 0
        del subscription
        assert batch() is None
        assert topic() is None
    finally:
        gc.enable()


async def test_replays_wait_for_messages_that_are_being_published_and_live_consumers_do_not(
    held_log: HeldLog, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(right_of_way, "PATIENCE_S", 3600)
    hub = Hub(held_log, recorder.lifecycle, RingLimits(100, 100_000))
    old = asyncio.create_task(hub.publish(Publication.now("b", [b"1"] * 100)))
    await turns()
    held_log.acknowledge()
    live = (await _subscribe(hub, Edge.LATEST)).subscription
    replay = (await _subscribe(hub, Edge.EARLIEST, "b")).subscription
    many = asyncio.create_task(hub.publish(Publication.now("a", [b"1"] * 100)))
    await turns()
    held_log.acknowledge()
    await in_time(asyncio.gather(old, many))
    waiting = asyncio.create_task(hub.publish(Publication.now("a", [b"1"])))
    await turns()
    replaying = asyncio.create_task(replay.next())
    batch = await in_time(live.next())
    assert isinstance(batch, Batch)
    assert batch.count == 100
    await turns()
    assert not replaying.done()
    held_log.acknowledge()
    await in_time(asyncio.gather(waiting, replaying))


async def test_topics_are_listed_with_what_is_kept_and_who_reads_them(
    hub: Hub, log: MemoryLog
) -> None:
    await hub.publish(Publication.now("b", [b"1", b"2"]))
    await hub.publish(Publication.now("a", [b"1"]))
    start = await _subscribe(hub, Edge.LATEST, "b")
    await _subscribe(hub, Edge.LATEST, "no messages yet")
    found, more = await hub.list_topics("", 10, lambda _: True)
    assert found == [("a", (log.epoch, 1), 1, 0), ("b", (log.epoch, 2), 2, 1)]
    assert not more
    hub.unsubscribe(start.subscription)
    assert (await hub.list_topics("a", 10, lambda _: True))[0][0].consumer_count == 0


async def test_a_list_says_whether_there_is_more_of_what_is_wanted(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fewer than there are, so that the log is asked several times.
    monkeypatch.setattr(hub_module, "LISTED_AT_ONCE", 2)
    for name in "abcdefg":
        await hub.publish(Publication.now(name, [b"1"]))

    async def listed(after: str, limit: int, wanted: str) -> tuple[list[str], bool]:
        found, more = await hub.list_topics(after, limit, wanted.__contains__)
        return [state.name for state in found], more

    assert await listed("", 2, "bfg") == (["b", "f"], True)
    assert await listed("f", 2, "bfg") == (["g"], False)
    assert await listed("", 3, "bfg") == (["b", "f", "g"], False)
    assert await listed("", 7, "abcdefg") == (list("abcdefg"), False)
    assert await listed("", 5, "x") == ([], False)


async def test_a_page_of_topics_costs_its_own_size_however_many_there_are(
    hub: Hub, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5_000):
        log.append(published(f"{number:04}", [b"1"]))
    for number in range(10, 4_990):
        # The log remembers their numbers, and has no message of them.
        log.append(published(f"{number:04}", [b"1"] * 1001, 0))
    seen: list[str] = []
    names, topics = log.names, log.topics

    async def noted_names(after: str, limit: int) -> list[str]:
        found = await names(after, limit)
        seen.extend(found)
        return found

    async def noted_topics(names: Sequence[str]) -> list[ListedTopic]:
        seen.extend(names)
        return await topics(names)

    monkeypatch.setattr(log, "names", noted_names)
    monkeypatch.setattr(log, "topics", noted_topics)
    found, more = await hub.list_topics("0005", 5, lambda _: True)
    assert [state.name for state in found] == ["0006", "0007", "0008", "0009", "4990"]
    assert more
    assert len(seen) < 50


async def test_topics_whose_messages_have_expired_are_not_listed(recorder: Recorder) -> None:
    log = MemoryLog(Retention(1000, 60))
    hub = Hub(log, recorder.lifecycle, RingLimits(10, 100_000))
    log.append(published("old", [b"1"], time.time_ns() - 61_000_000_000))
    await hub.publish(Publication.now("new", [b"1"]))
    found, _ = await hub.list_topics("", 10, lambda _: True)
    assert [state.name for state in found] == ["new"]


async def test_a_publisher_whose_append_takes_too_long_is_told_that_nobody_knows(
    held_hub: Hub, held_log: HeldLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "CHECK_INTERVAL_S", 0.01)
    held_hub._append_timeout_s = 0.1
    start = await _subscribe(held_hub, Edge.LATEST)
    checking = asyncio.create_task(held_hub.refuse_overdue())
    publishing = asyncio.create_task(held_hub.publish(Publication.now("a", [b"1"])))
    await asyncio.sleep(0.2)
    # The event loop may have been slow; the log has no append under way.
    assert not publishing.done()
    monkeypatch.setattr(held_log, "oldest_append_age_s", lambda: 0.2)
    with pytest.raises(LogUnavailableError, match=r"may have been kept or not \(the log has not"):
        await in_time(publishing)
    # A young append is not given up with an old one.
    young = asyncio.create_task(held_hub.publish(Publication.now("a", [b"2"])))
    await turns(3)
    assert not young.done()
    held_log.acknowledge()
    assert (await young).first.sequence == 2
    # What is kept in the end reaches the consumers.
    batch = await start.subscription.next()
    assert isinstance(batch, Batch)
    assert (batch.after, batch.last) == (0, 2)
    checking.cancel()
