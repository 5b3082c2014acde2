from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.encoding.formats import NDJSON, WEBSOCKET
from app.hub import topic as topic_module
from app.hub.subscription import SlowConsumerPolicy, Subscription
from app.hub.topic import RingLimits, Topic, make_batch
from tests.app.messages import make_messages
from tests.app.waiting import turns

if TYPE_CHECKING:
    import pytest

    from app.log.memory import MemoryLog


def _payloads(topic: Topic, after: int, until: int) -> list[bytes]:
    batch = topic.batch(WEBSOCKET, after, until)
    return [str(frame).rpartition('"data":')[2][:-1].strip().encode() for frame in batch.frames]


async def test_an_empty_ring_has_its_tail_after_its_head() -> None:
    topic = Topic("a", RingLimits(3, 100_000))
    assert (topic.tail, topic.head) == (1, 0)
    topic.advance_to(41)
    assert (topic.tail, topic.head) == (42, 41)


async def test_the_ring_holds_the_newest_messages() -> None:
    topic = Topic("a", RingLimits(3, 100_000))
    topic.advance_to(10)
    topic.push(make_messages(11, 12))
    assert (topic.tail, topic.head) == (11, 12)
    topic.push(make_messages(13, 14))
    assert (topic.tail, topic.head) == (12, 14)
    assert _payloads(topic, 12, 14) == [b"13", b"14"]


async def test_a_push_larger_than_the_ring_leaves_its_end() -> None:
    topic = Topic("a", RingLimits(3, 100_000))
    topic.push(make_messages(1, 100))
    assert (topic.tail, topic.head) == (98, 100)
    assert _payloads(topic, 97, 100) == [b"98", b"99", b"100"]


async def test_the_ring_is_bounded_in_bytes_too_but_holds_the_newest_message_always() -> None:
    topic = Topic("a", RingLimits(100, 5 * make_messages(1, 1, size=10)[0].held_bytes()))
    topic.push(make_messages(1, 9, size=10))
    assert (topic.tail, topic.head) == (5, 9)
    topic.push(make_messages(10, 10, size=10_000))
    assert (topic.tail, topic.head) == (10, 10)
    topic.push(make_messages(11, 12, size=10))
    assert (topic.tail, topic.head) == (11, 12)


async def test_what_the_ring_says_it_holds_is_what_its_messages_and_batches_hold() -> None:
    topic = Topic("a", RingLimits(10, 1_000_000))
    messages = make_messages(1, 10, size=1000)
    topic.push(messages)
    assert topic.memory_bytes() == sum(message.held_bytes() for message in messages)
    before = topic.memory_bytes()
    batch = topic.batch(NDJSON, 0, 10)
    topic.batch(NDJSON, 0, 10)
    topic.batch(NDJSON, 5, 10)
    assert topic.memory_bytes() > before + 2 * len(batch.frames[0])
    newer = make_messages(11, 20)
    topic.push(newer)
    assert topic.memory_bytes() == sum(message.held_bytes() for message in newer)


async def test_an_overgrown_ring_shrinks_by_what_was_encoded_too() -> None:
    topic = Topic("a", RingLimits(100, 20_000))
    for first in range(1, 200, 5):
        topic.push(make_messages(first, first + 4, size=1000))
        for encoding in (NDJSON, WEBSOCKET):
            topic.batch(encoding, topic.tail - 1, topic.head)
    topic.push(make_messages(201, 201))
    assert 10_000 < topic.memory_bytes() <= 20_000


async def test_consumers_at_the_same_place_share_a_batch_and_encodings_do_not() -> None:
    topic = Topic("a", RingLimits(10, 100_000))
    topic.push(make_messages(1, 3))
    batch = topic.batch(NDJSON, 1, 3)
    assert topic.batch(NDJSON, 1, 3) is batch
    assert topic.batch(WEBSOCKET, 1, 3).frames != batch.frames
    assert topic.batch(NDJSON, 2, 3) is not batch
    assert (batch.messages, batch.last, list(batch.accepted_ns)) == (2, 3, [2, 3])


async def test_a_batch_is_not_reused_after_a_push() -> None:
    topic = Topic("a", RingLimits(2, 100_000))
    topic.push(make_messages(1, 2))
    topic.batch(NDJSON, 1, 2)
    topic.push(make_messages(3, 4))
    assert topic.batch(NDJSON, 2, 4).messages == 2


async def test_a_batch_ends_once_it_keeps_a_socket_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_module, "BATCH_BYTES", 25)
    topic = Topic("a", RingLimits(10, 100_000))
    topic.push(make_messages(1, 9, size=10))
    assert topic.batch(NDJSON, 0, 9).messages == 3
    topic.push(make_messages(10, 10, size=100))
    assert topic.batch(NDJSON, 9, 10).messages == 1


async def test_batches_of_a_quiet_ring_do_not_outgrow_it_however_many_cursors_read_it() -> None:
    topic = Topic("a", RingLimits(200, 1_000_000))
    topic.push(make_messages(1, 200, size=1000))
    ring = topic.memory_bytes()
    for cursor in range(199):
        topic.batch(NDJSON, cursor, 200)
    assert topic.memory_bytes() < 10 * ring


async def test_a_head_that_the_log_had_before_its_push_came_does_not_shift_the_ring() -> None:
    # The log commits 2, a consumer asks it for its bounds, and only then 2 is pushed.
    topic = Topic("a", RingLimits(10, 100_000))
    topic.push(make_messages(1, 1))
    topic.advance_to(2)
    topic.push(make_messages(2, 2))
    topic.push(make_messages(3, 3))
    assert topic.head == 3
    assert _payloads(topic, 2, 3) == [b"3"]
    assert topic.tail in {1, 2, 3}
    assert _payloads(topic, topic.tail - 1, 3)[-1] == b"3"


async def test_the_head_never_goes_back_while_pushes_catch_up_with_the_log() -> None:
    topic = Topic("a", RingLimits(10, 100_000))
    topic.advance_to(3)
    heads = [topic.head]
    for sequence in (2, 3, 4):
        topic.push(make_messages(sequence, sequence))
        heads.append(topic.head)
    assert heads == sorted(heads)
    assert topic.head == 4
    assert _payloads(topic, 3, 4) == [b"4"]


async def test_waiters_are_woken_in_slices_between_which_others_run(
    log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_module, "WAKE_SLICE", 10)
    topic = Topic("a", RingLimits(10, 100_000))
    policy = SlowConsumerPolicy.DISCONNECT
    waiters = [
        asyncio.create_task(
            Subscription(topic, log, NDJSON, after=0, until=None, policy=policy).next()
        )
        for _ in range(35)
    ]
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
    monkeypatch.setattr(topic_module, "WAKE_SLICE", 1)
    topic = Topic("a", RingLimits(10, 100_000))
    subscriptions = [
        Subscription(topic, log, NDJSON, after=0, until=None, policy=SlowConsumerPolicy.LATEST)
        for _ in range(5)
    ]

    async def consume(subscription: Subscription) -> None:
        while subscription.cursor < 8:
            step = await subscription.next()
            if step is not None:
                subscription.advance(step.messages, step.last)  # type: ignore[union-attr]  # nobody falls behind here

    tasks = [asyncio.create_task(consume(subscription)) for subscription in subscriptions]
    for sequence in range(1, 9):
        await asyncio.sleep(0)
        topic.push(make_messages(sequence, sequence))
    await asyncio.wait_for(asyncio.gather(*tasks), 5)
    assert [subscription.sent for subscription in subscriptions] == [8] * 5


async def test_who_leaves_is_woken_no_more(log: MemoryLog) -> None:
    topic = Topic("a", RingLimits(10, 100_000))
    subscription = Subscription(
        topic, log, NDJSON, after=0, until=None, policy=SlowConsumerPolicy.LATEST
    )
    waiter = asyncio.create_task(subscription.next())
    await turns(2)
    subscription.close()
    topic.push(make_messages(1, 1))
    await turns()
    assert not waiter.done()
    assert topic.subscriptions == set()
    waiter.cancel()


def test_a_batch_of_websocket_messages_has_a_frame_for_each() -> None:
    batch = make_batch(WEBSOCKET, make_messages(4, 6))
    assert (len(batch.frames), batch.messages, batch.last) == (3, 3, 6)
