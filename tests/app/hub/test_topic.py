from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.encoding.formats import NDJSON, WEBSOCKET
from riptide.hub import topic as topic_module
from riptide.hub.topic import RingLimits, Topic
from riptide_telemetry import Lifecycle
from tests.app.messages import make_messages

if TYPE_CHECKING:
    import pytest


def _topic(limits: RingLimits) -> Topic:
    return Topic("a", limits, Lifecycle())


def _payloads(topic: Topic, after: int, until: int) -> list[bytes]:
    batch = topic.batch(WEBSOCKET, after, until)
    return [frame.rpartition(b'"data":')[2][:-1].strip() for frame in batch.frames]


async def test_an_empty_ring_has_its_tail_after_its_head() -> None:
    topic = _topic(RingLimits(3, 100_000))
    assert (topic.tail, topic.head) == (1, 0)
    topic.advance_to(41)
    assert (topic.tail, topic.head) == (42, 41)


async def test_the_ring_holds_the_newest_messages() -> None:
    topic = _topic(RingLimits(3, 100_000))
    topic.advance_to(10)
    topic.push(make_messages(11, 12))
    assert (topic.tail, topic.head) == (11, 12)
    topic.push(make_messages(13, 14))
    assert (topic.tail, topic.head) == (12, 14)
    assert _payloads(topic, 12, 14) == [b"13", b"14"]


async def test_a_push_larger_than_the_ring_leaves_its_end() -> None:
    topic = _topic(RingLimits(3, 100_000))
    topic.push(make_messages(1, 100))
    assert (topic.tail, topic.head) == (98, 100)
    assert _payloads(topic, 97, 100) == [b"98", b"99", b"100"]


async def test_the_ring_is_bounded_in_bytes_too_but_holds_the_newest_message_always() -> None:
    topic = _topic(RingLimits(100, 5 * make_messages(1, 1, size=10)[0].held_bytes()))
    topic.push(make_messages(1, 9, size=10))
    assert (topic.tail, topic.head) == (5, 9)
    topic.push(make_messages(10, 10, size=10_000))
    assert (topic.tail, topic.head) == (10, 10)
    topic.push(make_messages(11, 12, size=10))
    assert (topic.tail, topic.head) == (11, 12)


async def test_what_the_ring_says_it_holds_is_what_its_messages_and_batches_hold() -> None:
    topic = _topic(RingLimits(10, 1_000_000))
    messages = make_messages(1, 10, size=1000)
    topic.push(messages)
    assert topic.memory_bytes() == sum(message.held_bytes() for message in messages)
    before = topic.memory_bytes()
    batch = topic.batch(NDJSON, 0, 10)
    topic.batch(NDJSON, 0, 10)
    assert topic.memory_bytes() == before + batch.size
    wire = len(batch.wire)
    assert topic.memory_bytes() == before + batch.size + wire
    assert topic.batch(NDJSON, 5, 10).frames
    assert topic.memory_bytes() > before + batch.size + wire
    newer = make_messages(11, 20)
    topic.push(newer)
    assert topic.memory_bytes() == sum(message.held_bytes() for message in newer)


async def test_an_overgrown_ring_shrinks_by_what_was_encoded_too() -> None:
    topic = _topic(RingLimits(100, 20_000))
    for first in range(1, 200, 5):
        topic.push(make_messages(first, first + 4, size=1000))
        for encoding in (NDJSON, WEBSOCKET):
            topic.batch(encoding, topic.tail - 1, topic.head)
    topic.push(make_messages(201, 201))
    assert 10_000 < topic.memory_bytes() <= 20_000


async def test_consumers_at_the_same_place_share_a_batch_and_encodings_do_not() -> None:
    topic = _topic(RingLimits(10, 100_000))
    topic.push(make_messages(1, 3))
    batch = topic.batch(NDJSON, 1, 3)
    assert topic.batch(NDJSON, 1, 3) is batch
    assert topic.batch(WEBSOCKET, 1, 3).frames != batch.frames
    assert topic.batch(NDJSON, 2, 3) is not batch
    assert (batch.messages, batch.last, list(batch.accepted_ns)) == (2, 3, [2, 3])


async def test_a_batch_is_not_reused_after_a_push() -> None:
    topic = _topic(RingLimits(2, 100_000))
    topic.push(make_messages(1, 2))
    topic.batch(NDJSON, 1, 2)
    topic.push(make_messages(3, 4))
    assert topic.batch(NDJSON, 2, 4).messages == 2


async def test_a_batch_ends_once_it_keeps_a_socket_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_module, "BATCH_BYTES", 25)
    topic = _topic(RingLimits(10, 100_000))
    topic.push(make_messages(1, 9, size=10))
    assert topic.batch(NDJSON, 0, 9).messages == 3
    topic.push(make_messages(10, 10, size=100))
    assert topic.batch(NDJSON, 9, 10).messages == 1


async def test_batches_of_a_quiet_ring_do_not_outgrow_it_however_many_cursors_read_it() -> None:
    topic = _topic(RingLimits(200, 1_000_000))
    topic.push(make_messages(1, 200, size=1000))
    ring = topic.memory_bytes()
    for cursor in range(199):
        topic.batch(NDJSON, cursor, 200)
    assert topic.memory_bytes() < 10 * ring


async def test_a_head_that_the_log_had_before_its_push_came_does_not_shift_the_ring() -> None:
    # The log commits 2, a consumer asks it for its bounds, and only then 2 is pushed.
    topic = _topic(RingLimits(10, 100_000))
    topic.push(make_messages(1, 1))
    topic.advance_to(2)
    topic.push(make_messages(2, 2))
    topic.push(make_messages(3, 3))
    assert topic.head == 3
    assert _payloads(topic, 2, 3) == [b"3"]
    assert topic.tail in {1, 2, 3}
    assert _payloads(topic, topic.tail - 1, 3)[-1] == b"3"


async def test_the_head_never_goes_back_while_pushes_catch_up_with_the_log() -> None:
    topic = _topic(RingLimits(10, 100_000))
    topic.advance_to(3)
    heads = [topic.head]
    for sequence in (2, 3, 4):
        topic.push(make_messages(sequence, sequence))
        heads.append(topic.head)
    assert heads == sorted(heads)
    assert topic.head == 4
    assert _payloads(topic, 3, 4) == [b"4"]


def _traced_position(topic: Topic, after: int, until: int) -> int | None:
    batch = topic.batch(NDJSON, after, until)
    return None if batch.trace is None else batch.traced


async def test_the_newest_sampled_message_of_a_batch_stands_for_it() -> None:
    topic = _topic(RingLimits(100, 100_000))
    topic.advance_to(0)
    for message in make_messages(1, 6):
        if message.sequence in {2, 4}:
            message.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        elif message.sequence > 4:
            message.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
        topic.push([message])
    assert _traced_position(topic, 0, 6) == 3
    assert _traced_position(topic, 3, 6) == 0
    assert _traced_position(topic, 3, 4) == 0
    assert _traced_position(topic, 4, 6) is None
    # An older one is not looked for, unless it is the last.
    assert _traced_position(topic, 0, 3) is None
    assert _traced_position(topic, 0, 2) == 1
