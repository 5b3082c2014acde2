"""The law of conservation, whatever happens: offered = sent + dropped + queued.

And what it is good for: every consumer gets every message once and in order, but for what it
was told that it missed.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any
from unittest import mock

import orjson
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from riptide.encoding.formats import NDJSON, WEBSOCKET
from riptide.hub import right_of_way
from riptide.hub.batch import Batch
from riptide.hub.hub import Hub, Start
from riptide.hub.ring import RingLimits
from riptide.hub.stream_range import StreamRange
from riptide.hub.subscription import Finished, Missed, Overrun
from riptide.message import Acceptance, Edge, MessageId
from riptide.publication import Publication
from riptide.slow_consumers import SlowConsumerPolicy, SlowConsumerRule
from riptide.storage.message_log import Retention
from riptide_telemetry import DropReason
from tests.app.held_log import HeldLog
from tests.app.recorder import Recorder
from tests.waiting import turns

if TYPE_CHECKING:
    from riptide.hub.subscription import Subscription

TOPIC = "a"
Step = Batch | Missed | Overrun | Finished | None


class Consumer:
    """A subscription, and what its consumer has seen."""

    def __init__(self, start: Start) -> None:
        self.subscription: Subscription = start.subscription
        self.position = start.subscription.cursor
        self.total = start.subscription.offered if start.subscription.until is not None else None
        self.step: asyncio.Task[Step] | None = None
        # How many frames of the next batch are handed over; 0: all.
        self.frames = 0
        # Whether a write would have to wait; and what was taken without any waiting.
        self.full = False
        self.taken = 0
        self.finished = False
        self.overrun = False

    def take(self, batch: Batch, now_ns: int) -> bool:
        """Take what the fan-out has, if there is room (see ``Taker``)."""
        del now_ns
        if self.full:
            return False
        self.check(batch)
        self.position += batch.count
        self.taken += batch.count
        return True

    def check(self, batch: Batch) -> None:
        """Compare a batch with what has to come next."""
        records = [orjson.loads(line) for frame in batch.frames for line in frame.splitlines()]
        assert len(records) == batch.count >= 1
        assert (batch.after, batch.last) == (self.position, self.position + batch.count)
        sequences = [int(record["id"].partition("-")[2]) for record in records]
        expected = list(range(self.position + 1, self.position + batch.count + 1))
        assert sequences == expected, "out of order, doubled or left out"
        assert [record["data"] for record in records] == expected, "another's payload"
        assert list(batch.accepted_ns) == sorted(batch.accepted_ns)
        assert batch.size_bytes == sum(map(len, batch.frames))


class Conservation(RuleBasedStateMachine):
    """One topic on a tiny ring over a log with a tiny retention, and any number of consumers."""

    consumers: Bundle[Consumer] = Bundle("consumers")

    def __init__(self) -> None:
        super().__init__()
        # Appends are held back for as long as the test likes, and reads have their time meanwhile.
        self.hurry = mock.patch.object(right_of_way, "PATIENCE_S", 0.0)
        self.hurry.start()
        self.loop = asyncio.new_event_loop()
        self.recorder = Recorder()
        self.published: dict[int, int] = {}
        self.publishing: list[asyncio.Task[Any]] = []
        self.starting: list[asyncio.Task[Start]] = []
        self.open: list[Consumer] = []
        self.everybody: list[Consumer] = []
        self.number = 0
        self.now_ns = 0

    @initialize(
        policy=st.sampled_from(SlowConsumerPolicy),
        ring=st.integers(1, 5),
        ring_bytes=st.sampled_from([3, 10_000]),
        age_s=st.sampled_from([1.5, math.inf]),
        kept=st.integers(1, 12),
    )
    def begin(
        self, policy: SlowConsumerPolicy, ring: int, ring_bytes: int, age_s: float, kept: int
    ) -> None:
        self.policy = policy
        self.log = HeldLog(Retention(kept, 3600))
        self.hub = Hub(
            self.log,
            self.recorder.lifecycle,
            RingLimits(ring, ring_bytes, age_s),
            [SlowConsumerRule("*", policy)],
            clock_ns=lambda: self.now_ns,
        )

    @rule(seconds=st.integers(1, 3))
    def let_time_pass(self, seconds: int) -> None:
        self.now_ns += seconds * 1_000_000_000

    def turn(self) -> None:
        """Let everything run that can, and hand over what consumers were given."""
        self.loop.run_until_complete(turns())
        for consumer in self.open:
            if consumer.step is not None and consumer.step.done():
                step, consumer.step = consumer.step.result(), None
                self._take(consumer, step)

    @rule(count=st.integers(1, 4))
    def commit(self, count: int) -> None:
        """The log has a batch; neither its publisher nor any consumer knows yet."""
        payloads = []
        for _ in range(count):
            self.number += 1
            self.published[self.number] = self.number
            payloads.append(b"%d" % self.number)
        publication = Publication(TOPIC, payloads, Acceptance(time.time_ns(), self.now_ns))
        self.publishing.append(self.loop.create_task(self.hub.publish(publication)))
        self.turn()

    @rule(count=st.integers(1, 3), at_once=st.booleans())
    def acknowledge(self, count: int, at_once: bool) -> None:  # noqa: FBT001  # drawn, never passed
        if at_once:
            self.log.acknowledge(count)
            self.turn()
            return
        for _ in range(count):
            self.log.acknowledge(1)
            self.turn()

    @rule(count=st.integers(1, 4))
    def publish(self, count: int) -> None:
        """Commit and deliver, as under no load."""
        self.commit(count)
        self.log.acknowledge()
        self.turn()

    @rule()
    def hold_reads(self) -> None:
        self.log.holding = True

    @rule()
    def let_read(self) -> None:
        self.log.holding = False
        self.log.let_read()
        self.turn()

    @rule(
        back=st.none() | st.integers(0, 12),
        edge=st.sampled_from(Edge),
        finite=st.booleans(),
        encoding=st.sampled_from([NDJSON, WEBSOCKET]),
    )
    def ask_to_subscribe(self, back: int | None, edge: Edge, finite: bool, encoding: Any) -> None:  # noqa: FBT001  # drawn, never passed
        position = edge if back is None else MessageId(self.log.epoch, max(0, self.number - back))
        self.starting.append(
            self.loop.create_task(
                self.hub.subscribe(TOPIC, encoding, StreamRange(position, finite=finite))
            )
        )
        self.turn()

    @precondition(lambda self: any(task.done() for task in self.starting))
    @rule(target=consumers)
    def subscribed(self) -> Consumer:
        task = next(task for task in self.starting if task.done())
        self.starting.remove(task)
        consumer = Consumer(task.result())
        self.open.append(consumer)
        self.everybody.append(consumer)
        return consumer

    @rule(consumer=consumers, full=st.booleans())
    def flow(self, consumer: Consumer, full: bool) -> None:  # noqa: FBT001  # drawn, never passed
        """Take what is new without waking from now on, or let it wait."""
        if consumer.subscription.until is None:
            consumer.subscription.taker = consumer
        consumer.full = full

    @rule(consumer=consumers, frames=st.integers(0, 5))
    def read(self, consumer: Consumer, frames: int) -> None:
        """Ask for the next step, and of a batch of frames hand over some, or all (0)."""
        if consumer.step is None and not consumer.overrun:
            consumer.frames = frames
            consumer.step = self.loop.create_task(consumer.subscription.next())
        self.turn()

    def _take(self, consumer: Consumer, step: Step) -> None:
        subscription = consumer.subscription
        match step:
            case Batch():
                consumer.check(step)
                count = min(consumer.frames or step.count, len(step.frames))
                handed = step.count if len(step.frames) == 1 else count
                subscription.advance(step, 0, handed)
                consumer.position += handed
            case Missed():
                assert step.message_count >= 1
                assert subscription.until is None or step.reason is DropReason.EXPIRED
                consumer.position += step.message_count
            case Overrun():
                assert self.policy is SlowConsumerPolicy.DISCONNECT
                assert subscription.until is None
                assert step.message_count == subscription.queued > 0
                consumer.overrun = True
            case Finished():
                assert subscription.until == consumer.position
                assert subscription.offered == consumer.total
                consumer.finished = True

    @rule(consumer=consumers)
    def give_up_waiting(self, consumer: Consumer) -> None:
        """As a cancelled request does."""
        if consumer.step is not None:
            consumer.step.cancel()
            consumer.step = None
            self.turn()

    @rule(consumer=consumes(consumers))
    def leave(self, consumer: Consumer) -> None:
        self.open.remove(consumer)
        if consumer.step is not None:
            consumer.step.cancel()
            self.turn()
        self.hub.unsubscribe(consumer.subscription)

    @invariant()
    def what_is_taken_is_recorded(self) -> None:
        recorded = sum(
            count * len(written)
            for count, written in self.recorder.of("items_fanned_out", "count", "written_ns")
        )
        assert recorded == sum(consumer.taken for consumer in self.everybody)

    @invariant()
    def nothing_is_unaccounted(self) -> None:
        for consumer in self.open:
            subscription = consumer.subscription
            assert subscription.unaccounted == 0
            offered = subscription.sent + subscription.dropped + subscription.queued
            assert subscription.offered == offered
            assert subscription.cursor == consumer.position
            assert subscription.queued >= 0, "given more than there is"
        assert all(event == (0,) for event in self.recorder.of("messages_unaccounted", "count"))

    @invariant()
    def the_lag_lies_between_nothing_and_all_of_time(self) -> None:
        for consumer in self.open:
            lag_ns = consumer.subscription.lag_ns()
            assert 0 <= lag_ns <= self.now_ns
            assert consumer.subscription.queued or lag_ns == 0

    @invariant()
    def no_message_waits_for_ever(self) -> None:
        """A consumer that waits has nothing queued (its wake-up has had its turns)."""
        for consumer in self.open:
            waits = consumer.step is not None and not consumer.step.done()
            if waits and not self.log.holding:
                assert consumer.subscription.queued == 0

    def teardown(self) -> None:
        try:
            self._catch_up()
        finally:
            for task in [*self.starting, *self.publishing, *(c.step for c in self.open if c.step)]:
                task.cancel()
            self.loop.run_until_complete(turns())
            self.loop.close()
            self.hurry.stop()

    def _catch_up(self) -> None:
        """When everything is let through, everybody who may stay gets to the head."""
        self.let_read()
        self.log.acknowledge()
        self.turn()
        assert all(task.result() for task in self.publishing)
        for consumer in self.open:
            for _ in range(60):
                if consumer.overrun or consumer.finished:
                    break
                consumer.subscription.wake()
                self.turn()
                if consumer.subscription.until is None and not consumer.subscription.queued:
                    assert consumer.position == self.number
                    break
                self.read(consumer, 0)
            else:
                raise AssertionError("a consumer never caught up")
            self.nothing_is_unaccounted()


TestConservation = Conservation.TestCase
TestConservation.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
