from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from riptide.encoding.formats import NDJSON, SSE, WEBSOCKET, Encoding
from riptide.hub import fanout
from riptide.hub.backlog import Backlog
from riptide.hub.batch import Batch
from riptide.hub.log_reads import LogReads
from riptide.hub.right_of_way import RightOfWay
from riptide.hub.ring import Ring, RingLimits
from riptide.hub.subscription import Terms
from riptide.hub.topic import Topic
from riptide.hub.turns import Turns
from riptide.process.faults import Faults
from riptide.slow_consumers import SlowConsumerPolicy
from riptide_telemetry import Lifecycle, ServicePart, StreamProtocol
from tests.app.messages import make_messages
from tests.waiting import in_time, turns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from riptide.hub.subscription import Subscription
    from riptide.storage.memory import MemoryLog
    from tests.app.recorder import Recorder


def _topic(
    log: MemoryLog,
    limits: RingLimits,
    lifecycle: Lifecycle | None = None,
    faults: Faults | None = None,
) -> Topic:
    return Topic(
        Ring(limits),
        Backlog(LogReads(log, RightOfWay()), Turns(), "a"),
        lifecycle or Lifecycle(),
        faults,
    )


def _subscribe(topic: Topic, policy: SlowConsumerPolicy) -> Subscription:
    return topic.subscribe(NDJSON, Terms(0, None, policy, "0a1b2c3d"))


class Consumer:
    """A subscription that waits at the head, and what it took without being woken."""

    def __init__(self, topic: Topic, encoding: Encoding = NDJSON) -> None:
        terms = Terms(topic.ring.head, None, SlowConsumerPolicy.DISCONNECT, "0a1b2c3d")
        self.subscription = topic.subscribe(encoding, terms)
        self.subscription.taker = self
        self.task = asyncio.create_task(self.subscription.next())
        self.taken: list[Batch] = []
        self.full = False

    def take(self, batch: Batch, now_ns: int) -> bool:
        assert now_ns > 0
        if self.full:
            return False
        self.taken.append(batch)
        return True

    @property
    def sequences(self) -> list[int]:
        return [n for batch in self.taken for n in range(batch.after + 1, batch.last + 1)]


@pytest.fixture
def consumers() -> Iterator[list[Consumer]]:
    made: list[Consumer] = []
    yield made
    for consumer in made:
        consumer.task.cancel()


async def test_who_flows_takes_what_is_new_without_its_task_being_woken(
    log: MemoryLog, consumers: list[Consumer]
) -> None:
    topic = _topic(log, RingLimits(10, 100_000))
    consumers += [Consumer(topic) for _ in range(3)]
    await turns(2)
    for sequence in (1, 2):
        topic.push(make_messages(sequence, sequence))
        await turns()
    assert [consumer.sequences for consumer in consumers] == [[1, 2]] * 3
    assert not any(consumer.task.done() for consumer in consumers)
    assert [consumer.subscription.queued for consumer in consumers] == [0] * 3
    assert topic.behind() == []


async def test_who_has_no_room_is_woken_instead(log: MemoryLog, consumers: list[Consumer]) -> None:
    topic = _topic(log, RingLimits(10, 100_000))
    consumers += [Consumer(topic), Consumer(topic)]
    consumers[0].full = True
    await turns(2)
    topic.push(make_messages(1, 1))
    await turns()
    assert [consumer.task.done() for consumer in consumers] == [True, False]
    assert [consumer.subscription.queued for consumer in consumers] == [1, 0]
    assert topic.behind() == [consumers[0].subscription]


async def test_whose_task_is_awake_is_left_to_it(log: MemoryLog, consumers: list[Consumer]) -> None:
    topic = _topic(log, RingLimits(10, 100_000))
    consumers.append(Consumer(topic))
    await turns(2)
    consumers[0].subscription.wake()
    topic.push(make_messages(1, 1))
    await turns()
    assert consumers[0].taken == []
    assert consumers[0].task.done()


async def test_whom_the_ring_has_overtaken_is_woken(
    log: MemoryLog, consumers: list[Consumer]
) -> None:
    topic = _topic(log, RingLimits(2, 100_000))
    consumers.append(Consumer(topic))
    await turns(2)
    topic.push(make_messages(1, 5))
    await turns(1)
    assert consumers[0].taken == []
    assert not consumers[0].subscription.parked


async def test_more_than_one_write_takes_more_than_one_turn(
    log: MemoryLog, consumers: list[Consumer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("riptide.hub.ring.BATCH_BYTES", 10)
    topic = _topic(log, RingLimits(10, 100_000))
    consumers += [Consumer(topic), Consumer(topic)]
    await turns(2)
    topic.push(make_messages(1, 5, size=5))
    await turns()
    for consumer in consumers:
        assert [batch.count for batch in consumer.taken] == [2, 2, 1]
        assert consumer.sequences == [1, 2, 3, 4, 5]


async def test_what_a_fan_out_has_written_is_recorded_once_for_each_batch(
    log: MemoryLog, recorder: Recorder, consumers: list[Consumer]
) -> None:
    topic = _topic(log, RingLimits(10, 100_000), recorder.lifecycle)
    consumers += [Consumer(topic, encoding) for encoding in (SSE, WEBSOCKET, SSE)]
    await turns(2)
    topic.push(make_messages(1, 2))
    await turns()
    recorded = {
        protocol: (name, count, size, accepted, len(written), written == sorted(written))
        for protocol, name, count, size, accepted, written in recorder.of(
            "items_fanned_out",
            "protocol",
            "topic",
            "count",
            "size_bytes",
            "accepted_ns",
            "written_ns",
        )
    }
    sse, websocket = (consumers[n].taken[0].size_bytes for n in (0, 1))
    assert recorded == {
        StreamProtocol.SSE: ("a", 2, sse, [1, 2], 2, True),
        StreamProtocol.WEBSOCKET: ("a", 2, websocket, [1, 2], 1, True),
    }


async def test_a_long_fan_out_is_recorded_in_parts_and_whole(
    log: MemoryLog,
    recorder: Recorder,
    consumers: list[Consumer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fanout, "SLICE", 1)
    monkeypatch.setattr(fanout, "RECORDED_WRITES", 2)
    topic = _topic(log, RingLimits(10, 100_000), recorder.lifecycle)
    consumers += [Consumer(topic) for _ in range(5)]
    await turns(2)
    topic.push(make_messages(1, 1))
    await turns(10)
    parts = [len(written) for (written,) in recorder.of("items_fanned_out", "written_ns")]
    assert parts == [2, 2, 1]


async def test_what_a_task_writes_itself_is_recorded_without_a_fan_out(
    log: MemoryLog, recorder: Recorder, consumers: list[Consumer]
) -> None:
    topic = _topic(log, RingLimits(10, 100_000), recorder.lifecycle)
    consumers.append(Consumer(topic))
    topic.push(make_messages(1, 1))
    batch = topic.ring.batch(NDJSON, 0, 1)
    for moment in (5, 6):
        consumers[0].subscription.wrote(batch, moment)
    assert recorder.sent == 0
    await turns(2)
    assert recorder.of("items_fanned_out", "written_ns") == [([5, 6],)]
    assert batch.written_ns == []


async def test_what_was_written_before_a_failure_is_recorded_and_the_others_get_their_turn(
    log: MemoryLog, recorder: Recorder, consumers: list[Consumer]
) -> None:
    class Broken(Consumer):
        def take(self, batch: Batch, now_ns: int) -> bool:
            del batch, now_ns
            raise ValueError("a taker never raises")

    faults = Faults()
    topic = _topic(log, RingLimits(10, 100_000), recorder.lifecycle, faults)
    consumers += [Consumer(topic), Broken(topic), Consumer(topic)]
    await turns(2)
    topic.push(make_messages(1, 1))
    await turns()
    assert [consumer.sequences for consumer in consumers] == [[1], [], [1]]
    assert [consumer.task.done() for consumer in consumers] == [False, True, False]
    assert recorder.sent == 2
    assert faults.first is ServicePart.FAN_OUT


@pytest.mark.parametrize("place", ["_serve", "_record"])
async def test_a_fault_in_a_callback_leaves_no_consumer_waiting(
    log: MemoryLog, consumers: list[Consumer], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    class Broken(Lifecycle):
        def items_fanned_out(self, *_: object) -> None:
            raise ValueError("a lifecycle never raises")

    faults = Faults()
    topic = _topic(log, RingLimits(10, 100_000), Broken(), faults)
    if place == "_serve":
        monkeypatch.setattr(topic._fan_out, "_serve", Broken().items_fanned_out)
    consumers += [Consumer(topic), Consumer(topic)]
    await turns(2)
    for sequence in (1, 2):
        topic.push(make_messages(sequence, sequence))
        await turns()
    assert all(each.task.done() or each.sequences == [1, 2] for each in consumers)
    assert faults.first is ServicePart.FAN_OUT


async def test_waiters_are_woken_in_slices_between_which_others_run(
    log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "SLICE", 10)
    topic = _topic(log, RingLimits(10, 100_000))
    policy = SlowConsumerPolicy.DISCONNECT
    waiters = [asyncio.create_task(_subscribe(topic, policy).next()) for _ in range(35)]
    await turns(2)
    topic.push(make_messages(1, 1))
    woken = []
    while not all(waiter.done() for waiter in waiters):
        await asyncio.sleep(0)
        woken.append(sum(waiter.done() for waiter in waiters))
        assert len(woken) < 20
    steps = {after - before for before, after in zip([0, *woken], woken, strict=False)}
    assert max(steps) <= 10


async def test_pushes_during_a_wake_up_lose_no_waiter(
    log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "SLICE", 1)
    topic = _topic(log, RingLimits(10, 100_000))
    subscriptions = [_subscribe(topic, SlowConsumerPolicy.LATEST) for _ in range(5)]

    async def consume(subscription: Subscription) -> None:
        while subscription.cursor < 8:
            step = await subscription.next()
            if isinstance(step, Batch):
                subscription.advance(step)

    tasks = [asyncio.create_task(consume(subscription)) for subscription in subscriptions]
    for sequence in range(1, 9):
        await asyncio.sleep(0)
        topic.push(make_messages(sequence, sequence))
    await in_time(asyncio.gather(*tasks))
    assert [subscription.sent for subscription in subscriptions] == [8] * 5


async def test_who_leaves_is_woken_no_more(log: MemoryLog) -> None:
    topic = _topic(log, RingLimits(10, 100_000))
    subscription = _subscribe(topic, SlowConsumerPolicy.LATEST)
    waiter = asyncio.create_task(subscription.next())
    await turns(2)
    topic.unsubscribe(subscription)
    topic.push(make_messages(1, 1))
    await turns()
    assert not waiter.done()
    assert topic.subscriptions == set()
    waiter.cancel()
