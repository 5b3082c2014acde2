from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.encoding.formats import NDJSON, WEBSOCKET
from riptide.hub import ring as ring_module
from riptide.hub.ring import Ring, RingLimits
from tests.app.messages import make_messages

if TYPE_CHECKING:
    import pytest


def _payloads(ring: Ring, after: int, until: int) -> list[bytes]:
    batch = ring.batch(WEBSOCKET, after, until)
    return [frame.rpartition(b'"data":')[2][:-1].strip() for frame in batch.frames]


async def test_an_empty_ring_has_its_tail_after_its_head() -> None:
    ring = Ring(RingLimits(3, 100_000))
    assert (ring.tail, ring.head) == (1, 0)
    ring.advance_to(41, "0a1b2c3d")
    assert (ring.tail, ring.head) == (42, 41)


async def test_the_ring_holds_the_newest_messages() -> None:
    ring = Ring(RingLimits(3, 100_000))
    ring.advance_to(10, "0a1b2c3d")
    ring.push(make_messages(11, 12))
    assert (ring.tail, ring.head) == (11, 12)
    ring.push(make_messages(13, 14))
    assert (ring.tail, ring.head) == (12, 14)
    assert _payloads(ring, 12, 14) == [b"13", b"14"]


async def test_a_push_larger_than_the_ring_leaves_its_end() -> None:
    ring = Ring(RingLimits(3, 100_000))
    ring.push(make_messages(1, 100))
    assert (ring.tail, ring.head) == (98, 100)
    assert _payloads(ring, 97, 100) == [b"98", b"99", b"100"]


async def test_the_ring_is_bounded_in_bytes_too_but_holds_the_newest_message_always() -> None:
    ring = Ring(RingLimits(100, 5 * make_messages(1, 1, size=10)[0].held_bytes()))
    ring.push(make_messages(1, 9, size=10))
    assert (ring.tail, ring.head) == (5, 9)
    ring.push(make_messages(10, 10, size=10_000))
    assert (ring.tail, ring.head) == (10, 10)
    ring.push(make_messages(11, 12, size=10))
    assert (ring.tail, ring.head) == (11, 12)


async def test_what_the_ring_says_it_holds_is_what_its_messages_and_batches_hold() -> None:
    ring = Ring(RingLimits(10, 1_000_000))
    messages = make_messages(1, 10, size=1000)
    ring.push(messages)
    assert ring.memory_bytes() == sum(message.held_bytes() for message in messages)
    before = ring.memory_bytes()
    batch = ring.batch(NDJSON, 0, 10)
    ring.batch(NDJSON, 0, 10)
    assert ring.memory_bytes() == before + batch.size_bytes
    wire = len(batch.wire)
    assert ring.memory_bytes() == before + batch.size_bytes + wire
    assert ring.batch(NDJSON, 5, 10).frames
    assert ring.memory_bytes() > before + batch.size_bytes + wire
    newer = make_messages(11, 20)
    ring.push(newer)
    assert ring.memory_bytes() == sum(message.held_bytes() for message in newer)


async def test_an_overgrown_ring_shrinks_by_what_was_encoded_too() -> None:
    ring = Ring(RingLimits(100, 20_000))
    for first in range(1, 200, 5):
        ring.push(make_messages(first, first + 4, size=1000))
        for encoding in (NDJSON, WEBSOCKET):
            ring.batch(encoding, ring.tail - 1, ring.head)
    ring.push(make_messages(201, 201))
    assert 10_000 < ring.memory_bytes() <= 20_000


async def test_consumers_at_the_same_place_share_a_batch_and_encodings_do_not() -> None:
    ring = Ring(RingLimits(10, 100_000))
    ring.push(make_messages(1, 3))
    batch = ring.batch(NDJSON, 1, 3)
    assert ring.batch(NDJSON, 1, 3) is batch
    assert ring.batch(WEBSOCKET, 1, 3).frames != batch.frames
    assert ring.batch(NDJSON, 2, 3) is not batch
    assert (batch.count, batch.last, list(batch.accepted_ns)) == (2, 3, [2, 3])


async def test_a_batch_is_not_reused_after_a_push() -> None:
    ring = Ring(RingLimits(2, 100_000))
    ring.push(make_messages(1, 2))
    ring.batch(NDJSON, 1, 2)
    ring.push(make_messages(3, 4))
    assert ring.batch(NDJSON, 2, 4).count == 2


async def test_a_batch_ends_once_it_keeps_a_socket_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_module, "BATCH_BYTES", 25)
    ring = Ring(RingLimits(10, 100_000))
    ring.push(make_messages(1, 9, size=10))
    assert ring.batch(NDJSON, 0, 9).count == 3
    ring.push(make_messages(10, 10, size=100))
    assert ring.batch(NDJSON, 9, 10).count == 1


async def test_batches_of_a_quiet_ring_do_not_outgrow_it_however_many_cursors_read_it() -> None:
    ring = Ring(RingLimits(200, 1_000_000))
    ring.push(make_messages(1, 200, size=1000))
    size = ring.memory_bytes()
    for cursor in range(199):
        ring.batch(NDJSON, cursor, 200)
    assert ring.memory_bytes() < 10 * size


async def test_a_head_that_the_log_had_before_its_push_came_does_not_shift_the_ring() -> None:
    # The log commits 2, a consumer asks it for its bounds, and only then 2 is pushed.
    ring = Ring(RingLimits(10, 100_000))
    ring.push(make_messages(1, 1))
    ring.advance_to(2, "0a1b2c3d")
    ring.push(make_messages(2, 2))
    ring.push(make_messages(3, 3))
    assert ring.head == 3
    assert _payloads(ring, 2, 3) == [b"3"]
    assert ring.tail in {1, 2, 3}
    assert _payloads(ring, ring.tail - 1, 3)[-1] == b"3"


async def test_the_head_never_goes_back_while_pushes_catch_up_with_the_log() -> None:
    ring = Ring(RingLimits(10, 100_000))
    ring.advance_to(3, "0a1b2c3d")
    heads = [ring.head]
    for sequence in (2, 3, 4):
        ring.push(make_messages(sequence, sequence))
        heads.append(ring.head)
    assert heads == sorted(heads)
    assert ring.head == 4
    assert _payloads(ring, 3, 4) == [b"4"]


def _traced_position(ring: Ring, after: int, until: int) -> int | None:
    batch = ring.batch(NDJSON, after, until)
    return None if batch.trace is None else batch.traced


async def test_the_newest_sampled_message_of_a_batch_stands_for_it() -> None:
    ring = Ring(RingLimits(100, 100_000))
    ring.advance_to(0, "0a1b2c3d")
    for message in make_messages(1, 6):
        if message.sequence in {2, 4}:
            message.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        elif message.sequence > 4:
            message.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
        ring.push([message])
    assert _traced_position(ring, 0, 6) == 3
    assert _traced_position(ring, 3, 6) == 0
    assert _traced_position(ring, 3, 4) == 0
    assert _traced_position(ring, 4, 6) is None
    # An older one is not looked for, unless it is the last.
    assert _traced_position(ring, 0, 3) is None
    assert _traced_position(ring, 0, 2) == 1
