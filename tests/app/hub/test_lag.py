"""Who is behind for too long is treated by the policy, wherever it reads and however it came."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from riptide.encoding.formats import WEBSOCKET
from riptide.hub import ring as ring_module
from riptide.hub.batch import Batch
from riptide.hub.hub import Hub
from riptide.hub.ring import RingLimits
from riptide.hub.stream_range import StreamRange
from riptide.hub.subscription import Finished, Missed, Overrun, Subscription
from riptide.message import NANOSECONDS, Acceptance, Edge, MessageId
from riptide.publication import Publication
from riptide.slow_consumers import SlowConsumerPolicy, SlowConsumerRule
from riptide.storage import message_log
from riptide.storage.memory import MemoryLog
from riptide.storage.message_log import Retention
from riptide.storage.sqlite import SqliteLog
from riptide_telemetry import DropReason, Lifecycle
from tests.app.held_log import HeldLog
from tests.waiting import in_time, turns

if TYPE_CHECKING:
    from pathlib import Path

    from riptide.message import Position

MAX_LAG_S = 10
PER_SECOND = 5
A_LONG_TIME_S = 5 * MAX_LAG_S
Step = Batch | Missed | Overrun | Finished | None


@pytest.fixture(autouse=True)
def _one_message_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for messages of a megabyte."""
    monkeypatch.setattr(message_log, "READ_MESSAGES", 1)
    monkeypatch.setattr(ring_module, "BATCH_BYTES", 1)


class World:
    """A topic that is published to at a steady rate, on a clock that the test moves."""

    def __init__(
        self,
        policy: SlowConsumerPolicy = SlowConsumerPolicy.DISCONNECT,
        ring: int = PER_SECOND,
        log: MemoryLog | None = None,
    ) -> None:
        # Later than all messages of the past that a test makes up.
        self.now_ns = 10_000 * NANOSECONDS
        self.log = log or MemoryLog(Retention(100_000, 3600))
        self.hub = Hub(
            self.log,
            Lifecycle(),
            RingLimits(ring, 1_000_000, MAX_LAG_S),
            [SlowConsumerRule("*", policy)],
            clock_ns=lambda: self.now_ns,
        )

    async def publish(self, count: int, *, seconds_ago: float = 0) -> None:
        """Publish at this moment; ``seconds_ago``: the log says that it was then."""
        accepted_ns = self.now_ns - int(seconds_ago * NANOSECONDS)
        accepted = Acceptance(time.time_ns(), accepted_ns)
        await self.hub.publish(Publication("a", [b"1"] * count, accepted))

    async def second(self, count: int = PER_SECOND) -> None:
        """Let a second pass in which so many messages are published."""
        for _ in range(count):
            self.now_ns += NANOSECONDS // count
            await self.publish(1)
        if not count:
            self.now_ns += NANOSECONDS

    async def subscribe(self, position: Position, *, finite: bool = False) -> Subscription:
        wanted = StreamRange(position, finite=finite)
        return (await self.hub.subscribe("a", WEBSOCKET, wanted)).subscription

    async def resume(self, sequence: int) -> Subscription:
        return await self.subscribe(MessageId(self.log.epoch, sequence))


async def _read(subscription: Subscription, count: int) -> Step:
    """Read so many messages, or fewer if something else than messages comes."""
    step: Step = None
    for _ in range(count):
        if not subscription.queued:
            break
        step = await in_time(subscription.next())
        if not isinstance(step, Batch):
            break
        subscription.advance(step)
        assert subscription.unaccounted == 0
    assert subscription.unaccounted == 0
    return step


async def _read_for_long(world: World, subscription: Subscription, per_second: int) -> Step:
    """Return what else than messages comes within a long time, if anything does."""
    for _ in range(A_LONG_TIME_S):
        await world.second()
        step = await _read(subscription, per_second)
        if not isinstance(step, Batch | None):
            return step
    return None


async def _behind(world: World, *, resumed: bool) -> Subscription:
    """Return a consumer of a topic of a minute, that has read a little of it or nothing."""
    for _ in range(60):
        await world.second()
    # Another consumer keeps the topic in memory, as in every topic that anybody watches.
    await world.subscribe(Edge.LATEST)
    await world.second()
    return await (world.resume(10) if resumed else world.subscribe(Edge.EARLIEST))


@pytest.mark.parametrize("resumed", [True, False])
@pytest.mark.parametrize("per_second", [1, PER_SECOND])
async def test_disconnect_ends_a_consumer_that_reads_from_the_log_and_gains_no_ground(
    per_second: int, *, resumed: bool
) -> None:
    world = World()
    subscription = await _behind(world, resumed=resumed)
    step = await _read_for_long(world, subscription, per_second)
    assert isinstance(step, Overrun)
    assert step.message_count == subscription.queued
    assert f"more than {MAX_LAG_S} s behind" in step.detail
    assert subscription.dropped == 0


@pytest.mark.parametrize("resumed", [True, False])
async def test_drop_oldest_skips_what_is_too_old_for_such_a_consumer(*, resumed: bool) -> None:
    world = World(SlowConsumerPolicy.DROP_OLDEST)
    subscription = await _behind(world, resumed=resumed)
    step = await _read_for_long(world, subscription, 1)
    assert isinstance(step, Missed)
    assert step.reason is DropReason.SLOW_CONSUMER
    assert 0 < subscription.queued <= PER_SECOND
    assert subscription.lag_ns() <= MAX_LAG_S * NANOSECONDS
    assert isinstance(await _read(subscription, PER_SECOND), Batch)


@pytest.mark.parametrize("resumed", [True, False])
async def test_latest_skips_to_the_newest_message_for_such_a_consumer(*, resumed: bool) -> None:
    world = World(SlowConsumerPolicy.LATEST)
    subscription = await _behind(world, resumed=resumed)
    step = await _read_for_long(world, subscription, 1)
    assert isinstance(step, Missed)
    assert step.reason is DropReason.CONFLATED
    assert subscription.queued == 1


async def test_a_consumer_that_is_cut_off_and_resumes_has_no_new_leave_to_be_behind() -> None:
    world = World()
    subscription = await _behind(world, resumed=False)
    for _ in range(3):
        began_ns = world.now_ns
        assert isinstance(await _read_for_long(world, subscription, 1), Overrun)
        assert world.now_ns - began_ns <= 2 * MAX_LAG_S * NANOSECONDS
        world.hub.unsubscribe(subscription)
        subscription = await world.resume(subscription.cursor)
        # It is known to be behind before it has read anything new.
        await _read(subscription, 1)
        assert subscription.lag_ns() > MAX_LAG_S * NANOSECONDS
        assert not subscription.catching_up


@pytest.mark.parametrize("policy", SlowConsumerPolicy)
@pytest.mark.parametrize("resumed", [True, False])
async def test_a_consumer_that_gains_ground_loses_nothing_however_far_behind_it_is(
    policy: SlowConsumerPolicy, *, resumed: bool
) -> None:
    world = World(policy)
    subscription = await _behind(world, resumed=resumed)
    assert subscription.catching_up is not resumed
    seconds = 0
    while subscription.queued:
        await world.second()
        assert isinstance(await _read(subscription, PER_SECOND + 1), Batch)
        seconds += 1
    assert seconds > 10 * MAX_LAG_S
    assert subscription.dropped == 0
    assert subscription.lag_ns() == 0


@pytest.mark.parametrize("policy", SlowConsumerPolicy)
async def test_a_finite_replay_is_never_too_slow(policy: SlowConsumerPolicy) -> None:
    world = World(policy)
    for _ in range(60):
        await world.second()
    await world.subscribe(Edge.LATEST)
    subscription = await world.subscribe(Edge.EARLIEST, finite=True)
    assert await _read_for_long(world, subscription, 1) is None
    assert subscription.catching_up
    assert subscription.sent == A_LONG_TIME_S


async def test_whoever_gets_nearer_in_messages_gains_ground_though_the_seconds_grow() -> None:
    world = World()
    await world.publish(1000)
    await world.subscribe(Edge.LATEST)
    subscription = await world.resume(1)
    assert await _read_for_long(world, subscription, PER_SECOND + 1) is None
    assert subscription.lag_ns() > 3 * MAX_LAG_S * NANOSECONDS


async def test_a_consumer_in_a_large_ring_that_never_gets_to_its_head_is_too_slow_as_well() -> None:
    world = World(SlowConsumerPolicy.DROP_OLDEST, ring=100_000)
    await world.subscribe(Edge.LATEST)
    for _ in range(60):
        await world.second()
    subscription = await world.resume(10)
    assert isinstance(await _read_for_long(world, subscription, PER_SECOND), Missed)


@pytest.mark.parametrize("policy", SlowConsumerPolicy)
async def test_a_consumer_that_a_large_batch_threw_off_the_ring_must_gain_ground_too(
    policy: SlowConsumerPolicy,
) -> None:
    world = World(policy)
    subscription = await world.subscribe(Edge.LATEST)
    waiting = asyncio.create_task(subscription.next())
    await turns()
    await world.publish(10 * PER_SECOND)
    assert await waiting is None
    assert isinstance(await _read_for_long(world, subscription, 1), Missed | Overrun)


async def test_a_consumer_is_not_blamed_for_the_time_that_the_log_takes() -> None:
    log = HeldLog(Retention(100_000, 3600))
    world = World(log=log)
    publishing = asyncio.create_task(world.publish(100, seconds_ago=60))
    await turns()
    log.acknowledge()
    await publishing
    await world.subscribe(Edge.LATEST)
    subscription = await world.resume(1)
    for _ in range(20):
        log.holding = True
        reading = asyncio.create_task(_read(subscription, 1))
        await turns()
        publishing = asyncio.create_task(world.second())
        while not publishing.done():
            await turns()
            log.acknowledge()
        log.holding = False
        log.let_read()
        assert isinstance(await reading, Batch)


@pytest.mark.parametrize("policy", SlowConsumerPolicy)
async def test_a_consumer_that_pauses_in_a_quiet_topic_loses_nothing(
    policy: SlowConsumerPolicy,
) -> None:
    world = World(policy)
    await world.publish(3)
    subscription = await world.subscribe(Edge.EARLIEST)
    for _ in range(3):
        for _ in range(3):
            # Its connection takes nothing.
            assert isinstance(await in_time(subscription.next()), Batch)
            world.now_ns += 2 * MAX_LAG_S * NANOSECONDS
        assert isinstance(await _read(subscription, 1), Batch)
    assert (subscription.sent, subscription.queued) == (3, 0)


async def test_the_lag_in_the_ring_is_the_age_of_the_next_message() -> None:
    world = World(ring=100)
    subscription = await world.subscribe(Edge.LATEST)
    assert subscription.lag_ns() == 0
    await world.publish(1)
    world.now_ns += 3 * NANOSECONDS
    # A message does not age before the log has it.
    await world.publish(1, seconds_ago=60)
    assert subscription.lag_ns() == 3 * NANOSECONDS
    await _read(subscription, 1)
    assert subscription.lag_ns() == 0
    world.now_ns += NANOSECONDS
    assert subscription.lag_ns() == NANOSECONDS
    await _read(subscription, 1)
    assert subscription.lag_ns() == 0


async def test_the_lag_in_the_log_is_too_long_by_at_most_the_pause_between_two_messages() -> None:
    world = World()
    for _ in range(60):
        await world.second(1)
    await world.subscribe(Edge.LATEST)
    subscription = await world.subscribe(Edge.EARLIEST)
    for given in range(1, 50):
        await _read(subscription, 1)
        exact_ns = (60 - given - 1) * NANOSECONDS
        assert exact_ns <= subscription.lag_ns() <= exact_ns + NANOSECONDS


async def test_the_lag_of_a_consumer_that_waited_does_not_begin_before_the_messages_came() -> None:
    world = World()
    subscription = await world.subscribe(Edge.LATEST)
    await world.publish(1)
    await _read(subscription, 1)
    world.now_ns += 3600 * NANOSECONDS
    # A round over the streams, as each second has one.
    assert subscription.lag_ns() == 0
    world.now_ns += NANOSECONDS
    await world.publish(10 * PER_SECOND)
    assert subscription.lag_ns() <= NANOSECONDS


async def test_a_message_of_the_future_makes_no_lag_negative() -> None:
    world = World()
    await world.publish(100, seconds_ago=-3600)
    await world.subscribe(Edge.LATEST)
    subscription = await world.subscribe(Edge.EARLIEST)
    await _read(subscription, 1)
    assert subscription.lag_ns() == 0
    # Since then, a message in the ring has waited that is newer than the next one.
    await world.publish(1, seconds_ago=-3600)
    world.now_ns += 2 * NANOSECONDS
    assert subscription.lag_ns() == 2 * NANOSECONDS


@pytest.mark.parametrize("step_s", [-3600, 3600])
async def test_a_step_of_the_wall_clock_does_not_change_the_lag_behind_live_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_s: int
) -> None:
    log = SqliteLog(tmp_path, Retention(1000, 86400))
    await log.open()
    hub = Hub(log, Lifecycle(), RingLimits(1, 1_000_000, MAX_LAG_S))
    began_ns = time.monotonic_ns()
    start = await hub.subscribe("a", WEBSOCKET, StreamRange(Edge.LATEST))
    subscription = start.subscription
    # Larger than the ring, so that the consumer reads the log.
    waiting = asyncio.create_task(subscription.next())
    await turns()
    await hub.publish(Publication.now("a", [b"1"] * 100))
    assert await waiting is None
    wall_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: wall_ns() + step_s * NANOSECONDS)
    assert isinstance(await _read(subscription, 1), Batch)
    lag_ns = subscription.lag_ns()
    assert 0 <= lag_ns <= time.monotonic_ns() - began_ns
    await log.close()
