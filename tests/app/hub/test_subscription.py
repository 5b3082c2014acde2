from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

import pytest

from riptide.encoding.formats import NDJSON, WEBSOCKET
from riptide.errors import DamagedMessagesError, LogUnavailableError
from riptide.hub.batch import Batch
from riptide.hub.hub import Hub
from riptide.hub.ring import RingLimits
from riptide.hub.stream_range import StreamRange
from riptide.hub.subscription import Finished, Missed, Overrun, Subscription
from riptide.message import Edge, MessageId
from riptide.publication import Publication
from riptide.slow_consumers import SlowConsumerPolicy, SlowConsumerRule
from riptide.storage.message_log import Retention
from riptide_telemetry import DropReason, Source
from tests.app.held_log import HeldLog
from tests.waiting import in_time, turns

if TYPE_CHECKING:
    from riptide.message import Message, Position
    from riptide.storage.memory import MemoryLog
    from tests.app.recorder import Recorder

Step = Batch | Missed | Overrun | Finished | None
AGE_S = 10.0


class Clock:
    """A monotonic clock that a test moves on."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> int:
        return int(self.now_s * 1_000_000_000)


def _hub(
    log: MemoryLog,
    recorder: Recorder,
    policy: SlowConsumerPolicy,
    ring: int = 3,
    clock: Clock | None = None,
) -> Hub:
    age_s = math.inf if clock is None else AGE_S
    return Hub(
        log,
        recorder.lifecycle,
        RingLimits(ring, 100_000, age_s),
        [SlowConsumerRule("*", policy)],
        clock_ns=clock or time.monotonic_ns,
    )


async def _subscribe(
    hub: Hub, position: Position = Edge.LATEST, *, finite: bool = False
) -> Subscription:
    return (await hub.subscribe("a", WEBSOCKET, StreamRange(position, finite=finite))).subscription


async def _take(subscription: Subscription) -> Step:
    """Take the next step as a session does: a batch counts as sent."""
    step = await in_time(subscription.next())
    if isinstance(step, Batch):
        subscription.advance(step)
    assert subscription.unaccounted == 0
    return step


def _data(step: Step) -> list[int]:
    assert isinstance(step, Batch)
    return [int(frame.rpartition(b'"data":')[2][:-1]) for frame in step.frames]


async def _publish(hub: Hub, first: int, last: int) -> None:
    for number in range(first, last + 1):
        await hub.publish(Publication.now("a", [b"%d" % number]))


async def _publish_through(log: HeldLog, hub: Hub, first: int, last: int) -> None:
    publishing = asyncio.create_task(_publish(hub, first, last))
    while not publishing.done():
        log.acknowledge()
        await asyncio.sleep(0)


async def test_a_consumer_that_was_not_there_gets_all_it_missed_as_one_batch(
    log: MemoryLog, recorder: Recorder
) -> None:
    hub = _hub(log, recorder, SlowConsumerPolicy.DISCONNECT)
    subscription = await _subscribe(hub)
    await _publish(hub, 1, 3)
    assert _data(await _take(subscription)) == [1, 2, 3]
    assert (subscription.sent, subscription.queued) == (3, 0)


async def test_a_consumer_with_nothing_to_get_waits_until_it_is_woken(
    log: MemoryLog, recorder: Recorder
) -> None:
    hub = _hub(log, recorder, SlowConsumerPolicy.DISCONNECT)
    subscription = await _subscribe(hub)
    waiting = asyncio.create_task(subscription.next())
    await turns()
    assert not waiting.done()
    subscription.wake()
    assert await waiting is None
    subscription.wake()
    subscription.wake()


async def test_disconnect_ends_a_consumer_that_falls_off_the_ring_and_drops_nothing(
    log: MemoryLog, recorder: Recorder
) -> None:
    hub = _hub(log, recorder, SlowConsumerPolicy.DISCONNECT)
    subscription = await _subscribe(hub)
    await _publish(hub, 1, 1)
    await _take(subscription)
    await _publish(hub, 2, 5)
    assert await _take(subscription) == Overrun(4)
    assert (subscription.sent, subscription.dropped, subscription.queued) == (1, 0, 4)


async def test_drop_oldest_skips_what_left_the_ring_and_no_more(
    log: MemoryLog, recorder: Recorder
) -> None:
    hub = _hub(log, recorder, SlowConsumerPolicy.DROP_OLDEST)
    subscription = await _subscribe(hub)
    await _publish(hub, 1, 1)
    await _take(subscription)
    await _publish(hub, 2, 6)
    assert await _take(subscription) == Missed(2, DropReason.SLOW_CONSUMER)
    assert _data(await _take(subscription)) == [4, 5, 6]


async def test_latest_skips_to_the_newest_message(log: MemoryLog, recorder: Recorder) -> None:
    hub = _hub(log, recorder, SlowConsumerPolicy.LATEST)
    subscription = await _subscribe(hub)
    await _publish(hub, 1, 1)
    await _take(subscription)
    await _publish(hub, 2, 6)
    assert await _take(subscription) == Missed(4, DropReason.CONFLATED)
    assert _data(await _take(subscription)) == [6]


@pytest.mark.parametrize("policy", list(SlowConsumerPolicy))
async def test_a_consumer_whose_next_message_is_the_oldest_of_the_ring_is_not_too_slow(
    log: MemoryLog, recorder: Recorder, policy: SlowConsumerPolicy
) -> None:
    hub = _hub(log, recorder, policy)
    subscription = await _subscribe(hub)
    await _publish(hub, 1, 1)
    await _take(subscription)
    await _publish(hub, 2, 4)
    assert _data(await _take(subscription)) == [2, 3, 4]


@pytest.mark.parametrize("policy", list(SlowConsumerPolicy))
async def test_a_batch_larger_than_the_ring_makes_nobody_slow_who_waited_for_it(
    log: MemoryLog, recorder: Recorder, policy: SlowConsumerPolicy
) -> None:
    hub = _hub(log, recorder, policy)
    subscription = await _subscribe(hub)
    await _publish(hub, 1, 1)
    assert _data(await _take(subscription)) == [1]
    waiting = asyncio.create_task(subscription.next())
    await turns()
    await hub.publish(Publication.now("a", [b"%d" % number for number in range(2, 12)]))
    assert await waiting is None
    assert _data(await _take(subscription)) == list(range(2, 9))
    assert _data(await _take(subscription)) == [9, 10, 11]
    # What comes while it does not wait is its own doing.
    await _publish(hub, 12, 21)
    assert isinstance(await _take(subscription), Missed | Overrun)


@pytest.mark.parametrize("policy", list(SlowConsumerPolicy))
async def test_a_consumer_that_still_catches_up_from_the_log_is_never_too_slow(
    log: MemoryLog, recorder: Recorder, policy: SlowConsumerPolicy
) -> None:
    hub = _hub(log, recorder, policy)
    await _publish(hub, 1, 20)
    subscription = await _subscribe(hub, Edge.EARLIEST)
    got: list[int] = []
    for number in range(21, 26):
        await _publish(hub, number, number)
        got += _data(await _take(subscription))
    while subscription.queued:
        got += _data(await _take(subscription))
    assert got == list(range(1, 26))
    assert subscription.dropped == 0


async def test_a_step_lies_on_one_side_of_the_line_between_replay_and_live(
    log: MemoryLog, recorder: Recorder
) -> None:
    hub = _hub(log, recorder, SlowConsumerPolicy.DISCONNECT, ring=10)
    keeper = await _subscribe(hub)
    await _publish(hub, 1, 3)
    subscription = await _subscribe(hub, Edge.EARLIEST)
    await _publish(hub, 4, 5)
    assert subscription.source() is Source.REPLAY
    assert _data(await _take(subscription)) == [1, 2, 3]
    assert subscription.source() is Source.LIVE
    assert _data(await _take(subscription)) == [4, 5]
    assert _data(await _take(keeper)) == [1, 2, 3, 4, 5]


async def test_a_finite_replay_ends_at_what_was_the_head_when_it_began(
    log: MemoryLog, recorder: Recorder
) -> None:
    hub = _hub(log, recorder, SlowConsumerPolicy.DISCONNECT, ring=10)
    await _publish(hub, 1, 2)
    subscription = await _subscribe(hub, Edge.EARLIEST, finite=True)
    await _publish(hub, 3, 4)
    assert _data(await _take(subscription)) == [1, 2]
    assert await _take(subscription) == Finished()
    assert (subscription.offered, subscription.queued) == (2, 0)


async def test_a_finite_replay_of_nothing_is_finished_at_once(
    log: MemoryLog, recorder: Recorder
) -> None:
    hub = _hub(log, recorder, SlowConsumerPolicy.DISCONNECT)
    assert await _take(await _subscribe(hub, Edge.EARLIEST, finite=True)) == Finished()
    await _publish(hub, 1, 2)
    assert await _take(await _subscribe(hub, Edge.LATEST, finite=True)) == Finished()


@pytest.mark.parametrize("policy", list(SlowConsumerPolicy))
async def test_a_finite_replay_goes_on_from_the_log_when_its_messages_leave_the_ring(
    log: MemoryLog, recorder: Recorder, policy: SlowConsumerPolicy
) -> None:
    hub = _hub(log, recorder, policy)
    await _subscribe(hub)
    await _publish(hub, 1, 3)
    subscription = await _subscribe(hub, Edge.EARLIEST, finite=True)
    step = await subscription.next()
    assert isinstance(step, Batch)
    # Only the first frame of the batch was handed over.
    subscription.advance(step, 0, 1)
    await _publish(hub, 4, 9)
    assert _data(await _take(subscription)) == [2, 3]
    assert await _take(subscription) == Finished()
    assert subscription.dropped == 0


async def test_what_expires_in_the_middle_of_a_replay_is_reported_as_missed(
    recorder: Recorder,
) -> None:
    log = HeldLog(Retention(3, 3600))
    hub = _hub(log, recorder, SlowConsumerPolicy.DISCONNECT, ring=1)

    await _publish_through(log, hub, 1, 3)
    subscription = await _subscribe(hub, Edge.EARLIEST, finite=True)
    await _publish_through(log, hub, 4, 5)
    assert await _take(subscription) == Missed(2, DropReason.EXPIRED)
    assert _data(await _take(subscription)) == [3]
    assert await _take(subscription) == Finished()


class DamagedLog(HeldLog):
    """A log in which some neighbouring messages are damaged."""

    def __init__(self, first: int, last: int) -> None:
        super().__init__(Retention(1000, 3600))
        self._first, self._last = first, last

    async def read(self, topic: str, after: int) -> list[Message]:
        if self._first - 1 <= after < self._last:
            raise DamagedMessagesError(topic, after + 1, self._last)
        return [
            m for m in await super().read(topic, after) if not after < self._first <= m.sequence
        ]


async def test_damaged_messages_are_missed_with_a_reason_of_their_own_and_the_rest_is_read(
    recorder: Recorder,
) -> None:
    log = DamagedLog(2, 3)
    hub = _hub(log, recorder, SlowConsumerPolicy.DISCONNECT, ring=1)
    await _publish_through(log, hub, 1, 5)
    for position, finite in ((Edge.EARLIEST, True), (MessageId(log.epoch, 0), False)):
        subscription = await _subscribe(hub, position, finite=finite)
        assert _data(await _take(subscription)) == [1]
        assert await _take(subscription) == Missed(2, DropReason.DAMAGED)
        assert _data(await _take(subscription)) == [4, 5]
        assert (subscription.sent, subscription.dropped, subscription.queued) == (3, 2, 0)
    # The id of the gap's record resumes behind it.
    subscription = await _subscribe(hub, MessageId(log.epoch, 3))
    assert _data(await _take(subscription)) == [4, 5]


async def test_a_hole_ends_where_a_finite_stream_does(recorder: Recorder) -> None:
    log = DamagedLog(2, 5)
    hub = _hub(log, recorder, SlowConsumerPolicy.DISCONNECT, ring=1)
    await _publish_through(log, hub, 1, 3)
    subscription = await _subscribe(hub, Edge.EARLIEST, finite=True)
    await _publish_through(log, hub, 4, 6)
    assert _data(await _take(subscription)) == [1]
    assert await _take(subscription) == Missed(2, DropReason.DAMAGED)
    assert await _take(subscription) == Finished()


async def test_what_has_expired_before_damaged_messages_is_told_apart_from_them(
    recorder: Recorder,
) -> None:
    class Expired(DamagedLog):
        async def read(self, topic: str, after: int) -> list[Message]:
            if after < 2:
                raise DamagedMessagesError(topic, 3, 4)
            return await super().read(topic, after)

    log = Expired(3, 4)
    hub = _hub(log, recorder, SlowConsumerPolicy.DISCONNECT, ring=1)
    await _publish_through(log, hub, 1, 6)
    subscription = await _subscribe(hub, Edge.EARLIEST, finite=True)
    assert await _take(subscription) == Missed(2, DropReason.EXPIRED)
    assert await _take(subscription) == Missed(2, DropReason.DAMAGED)
    assert _data(await _take(subscription)) == [5, 6]


async def test_a_finite_replay_all_of_which_expired_is_finished(recorder: Recorder) -> None:
    log = HeldLog(Retention(2, 3600))
    hub = _hub(log, recorder, SlowConsumerPolicy.DISCONNECT, ring=1)
    await _publish_through(log, hub, 1, 2)
    subscription = await _subscribe(hub, Edge.EARLIEST, finite=True)
    await _publish_through(log, hub, 3, 9)
    assert await _take(subscription) == Missed(2, DropReason.EXPIRED)
    assert await _take(subscription) == Finished()
    assert (subscription.offered, subscription.dropped) == (2, 2)


async def test_pushes_during_a_read_are_neither_lost_nor_doubled(recorder: Recorder) -> None:
    log = HeldLog(Retention(1000, 3600))
    hub = _hub(log, recorder, SlowConsumerPolicy.DISCONNECT)
    await _publish_through(log, hub, 1, 5)
    subscription = await _subscribe(hub, Edge.EARLIEST)
    log.holding = True
    reading = asyncio.create_task(_take(subscription))
    await turns()
    for number in (6, 7):
        publishing = asyncio.create_task(_publish(hub, number, number))
        await turns()
        log.acknowledge()
        await publishing
    log.holding = False
    log.let_read()
    assert _data(await reading) == [1, 2, 3, 4, 5]
    assert _data(await _take(subscription)) == [6, 7]


async def test_messages_that_come_while_expired_ones_are_read_are_not_taken_for_expired(
    recorder: Recorder,
) -> None:
    log = HeldLog(Retention(1000, 3600))
    hub = _hub(log, recorder, SlowConsumerPolicy.DISCONNECT, ring=1)
    subscription = await _subscribe(hub, Edge.EARLIEST)
    await _publish_through(log, hub, 1, 5)
    log._messages.clear()
    log.holding = True
    reading = asyncio.create_task(_take(subscription))
    await turns()
    await _publish_through(log, hub, 6, 9)
    log.holding = False
    log.let_read()
    assert await reading == Missed(4, DropReason.EXPIRED)
    assert await _take(subscription) == Missed(1, DropReason.EXPIRED)
    assert _data(await _take(subscription)) == [6, 7, 8]
    assert _data(await _take(subscription)) == [9]


async def test_commits_whose_push_comes_during_a_read_are_neither_lost_nor_doubled(
    recorder: Recorder,
) -> None:
    # The log has them, a consumer begins to read them, and only then they are pushed.
    log = HeldLog(Retention(1000, 3600))
    hub = _hub(log, recorder, SlowConsumerPolicy.DISCONNECT)
    publishing = [
        asyncio.create_task(hub.publish(Publication.now("a", [b"%d" % n]))) for n in (1, 2)
    ]
    await turns()
    subscription = await _subscribe(hub, Edge.EARLIEST)
    log.holding = True
    reading = asyncio.create_task(_take(subscription))
    await turns()
    log.acknowledge(1)
    await turns()
    log.holding = False
    log.let_read()
    got = await reading
    log.acknowledge()
    await asyncio.gather(*publishing)
    data = [] if got is None else _data(got)
    while subscription.queued:
        step = await _take(subscription)
        data += [] if step is None else _data(step)
    assert data == [1, 2]


async def test_a_log_that_cannot_be_read_is_said_to_the_reader_and_nothing_is_counted(
    recorder: Recorder,
) -> None:
    log = HeldLog(Retention(1000, 3600))
    hub = _hub(log, recorder, SlowConsumerPolicy.DISCONNECT)
    publishing = asyncio.create_task(hub.publish(Publication.now("a", [b"1"])))
    await turns()
    log.acknowledge()
    await publishing
    subscription = await _subscribe(hub, Edge.EARLIEST)
    log.broken = True
    with pytest.raises(LogUnavailableError):
        await _take(subscription)
    assert (subscription.sent, subscription.dropped, subscription.queued) == (0, 0, 1)
    log.broken = False
    assert _data(await _take(subscription)) == [1]


async def test_a_cancelled_wait_loses_nothing(hub: Hub) -> None:
    subscription = (await hub.subscribe("a", NDJSON, StreamRange(Edge.LATEST))).subscription
    waiting = asyncio.create_task(subscription.next())
    await turns()
    waiting.cancel()
    await turns()
    await hub.publish(Publication.now("a", [b"1"]))
    step = await _take(subscription)
    assert isinstance(step, Batch)
    assert step.count == 1


async def _lag_by_age(hub: Hub, clock: Clock) -> Subscription:
    """Return a consumer that caught up, and is owed four messages, the first two too old."""
    subscription = await _subscribe(hub)
    await _publish(hub, 1, 1)
    await _take(subscription)
    await _publish(hub, 2, 3)
    clock.now_s += AGE_S
    await _publish(hub, 4, 5)
    clock.now_s += 0.001
    return subscription


async def test_disconnect_ends_a_consumer_whose_next_message_is_too_old(
    log: MemoryLog, recorder: Recorder
) -> None:
    clock = Clock()
    hub = _hub(log, recorder, SlowConsumerPolicy.DISCONNECT, 10, clock)
    step = await _take(await _lag_by_age(hub, clock))
    assert isinstance(step, Overrun)
    assert step.message_count == 4
    assert "more than 10 s behind" in step.detail


async def test_the_first_message_that_a_consumer_is_given_is_never_too_old_for_it(
    log: MemoryLog, recorder: Recorder
) -> None:
    clock = Clock()
    hub = _hub(log, recorder, SlowConsumerPolicy.DISCONNECT, 10, clock)
    subscription = await _subscribe(hub)
    waiting = asyncio.create_task(subscription.next())
    await turns()
    await _publish(hub, 1, 1)
    assert await waiting is None
    # Its client takes nothing for a while.
    clock.now_s += 2 * AGE_S
    assert _data(await _take(subscription)) == [1]


async def test_drop_oldest_skips_what_is_too_old_though_the_ring_has_it(
    log: MemoryLog, recorder: Recorder
) -> None:
    clock = Clock()
    hub = _hub(log, recorder, SlowConsumerPolicy.DROP_OLDEST, 10, clock)
    subscription = await _lag_by_age(hub, clock)
    assert await _take(subscription) == Missed(2, DropReason.SLOW_CONSUMER)
    assert _data(await _take(subscription)) == [4, 5]
    await _publish(hub, 6, 7)
    clock.now_s += 2 * AGE_S
    assert await _take(subscription) == Missed(2, DropReason.SLOW_CONSUMER)
    assert subscription.queued == 0


async def test_latest_gives_the_newest_message_however_old_it_is(
    log: MemoryLog, recorder: Recorder
) -> None:
    clock = Clock()
    hub = _hub(log, recorder, SlowConsumerPolicy.LATEST, 10, clock)
    subscription = await _lag_by_age(hub, clock)
    clock.now_s += 2 * AGE_S
    assert await _take(subscription) == Missed(3, DropReason.CONFLATED)
    assert _data(await _take(subscription)) == [5]


@pytest.mark.parametrize("policy", list(SlowConsumerPolicy))
async def test_what_came_while_a_consumer_was_still_catching_up_is_never_too_old(
    log: MemoryLog, recorder: Recorder, policy: SlowConsumerPolicy
) -> None:
    clock = Clock()
    hub = _hub(log, recorder, policy, 10, clock)
    await _subscribe(hub)
    await _publish(hub, 1, 3)
    subscription = await _subscribe(hub, Edge.EARLIEST)
    await _publish(hub, 4, 5)
    clock.now_s += 2 * AGE_S
    # As far as the consumer's coming it is a replay, and the rest could not be had before.
    assert _data(await _take(subscription)) == [1, 2, 3]
    clock.now_s += 2 * AGE_S
    assert _data(await _take(subscription)) == [4, 5]


async def test_a_message_that_was_long_on_its_way_into_the_log_is_not_too_old(
    recorder: Recorder,
) -> None:
    held, clock = HeldLog(Retention(1000, 3600)), Clock()
    hub = _hub(held, recorder, SlowConsumerPolicy.DISCONNECT, 10, clock)
    subscription = await _subscribe(hub)
    publishing = asyncio.create_task(hub.publish(Publication.now("a", [b"1"])))
    await turns()
    clock.now_s += 2 * AGE_S
    held.acknowledge()
    await publishing
    assert _data(await _take(subscription)) == [1]
