from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from riptide.encoding.formats import NDJSON, SSE, WEBSOCKET
from riptide.hub.batch import Batch
from riptide.hub.chunk import Chunk
from riptide.message import Message
from tests.app.messages import make_messages

if TYPE_CHECKING:
    from riptide.encoding.formats import Encoding


@pytest.mark.parametrize("encoding", [NDJSON, SSE, WEBSOCKET])
def test_a_chunk_is_encoded_once_for_all_consumers_and_as_the_ring_would(
    encoding: Encoding,
) -> None:
    messages = make_messages(3, 7)
    chunk = Chunk(messages)
    batch = chunk.batch(encoding, 100)
    assert chunk.batch(encoding, 7) is batch
    assert batch.wire == Batch(encoding, messages).wire
    assert list(batch.accepted_ns) == [3, 4, 5, 6, 7]
    assert (batch.after, batch.last, batch.count) == (2, 7, 5)
    assert (chunk.first, chunk.last, chunk.first_accepted_ns) == (3, 7, 3)


def test_a_consumer_that_needs_only_the_beginning_gets_only_that() -> None:
    messages = make_messages(3, 7)
    chunk = Chunk(messages)
    assert chunk.batch(NDJSON, 5).wire == Batch(NDJSON, messages[:3]).wire
    assert chunk.batch(NDJSON, 7).last == 7


def test_a_chunk_counts_its_payloads_and_its_batches() -> None:
    chunk = Chunk(make_messages(1, 10, size=1000))
    before = chunk.held_bytes
    assert before > 10_000
    batch = chunk.batch(NDJSON, 10)
    expected = before + batch.size_bytes + len(batch.wire)
    assert chunk.held_bytes == pytest.approx(expected, rel=0.01)


def test_a_chunk_holds_no_objects_for_the_garbage_collector_to_visit_for_each_message() -> None:
    gc.collect()
    before = len(gc.get_objects())
    chunk = Chunk(make_messages(1, 1000))
    chunk.batch(NDJSON, 1000)
    gc.collect()
    assert len(gc.get_objects()) - before < 100
    assert not any(isinstance(each, Message) for each in gc.get_referents(chunk))
