from __future__ import annotations

import pytest

from riptide.encoding.formats import NDJSON, SSE, WEBSOCKET, Encoding
from riptide.hub.batch import Batch
from riptide_telemetry import Moments
from tests.app.messages import make_messages


def test_a_batch_knows_its_place_and_its_moments() -> None:
    batch = Batch(NDJSON, make_messages(4, 6))
    assert (batch.after, batch.last, batch.count) == (3, 6, 3)
    assert isinstance(batch.accepted_ns, Moments)
    assert (list(batch.accepted_ns), batch.accepted_ns.total) == ([4, 5, 6], 15)


def test_a_batch_of_websocket_messages_has_a_frame_for_each() -> None:
    assert len(Batch(WEBSOCKET, make_messages(4, 6)).frames) == 3


@pytest.mark.parametrize("encoding", [NDJSON, SSE], ids=["ndjson", "sse"])
def test_a_batch_for_a_body_is_one_frame(encoding: Encoding) -> None:
    batch = Batch(encoding, make_messages(4, 6))
    (frame,) = batch.frames
    assert len(frame) == batch.size_bytes


@pytest.mark.parametrize("encoding", [NDJSON, SSE, WEBSOCKET], ids=["ndjson", "sse", "ws"])
def test_a_batch_holds_what_has_been_made_of_it_and_makes_it_once(encoding: Encoding) -> None:
    batch = Batch(encoding, make_messages(1, 3))
    assert batch.held_bytes() == 0
    wire = batch.wire
    assert batch.wire is wire
    assert batch.held_bytes() == len(wire)
    assert batch.frames
    # Frames that are the encoded messages themselves are held by those.
    assert batch.held_bytes() == len(wire) + (batch.size_bytes if encoding.joins else 0)


def test_its_trace_is_that_of_its_example_or_its_last_message_if_it_is_sampled() -> None:
    sampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    first, last = make_messages(1, 2)
    assert Batch(NDJSON, [first, last]).trace is None
    first.traceparent = sampled
    assert Batch(NDJSON, [first, last]).trace is None
    exemplary = Batch(NDJSON, [first, last], first)
    assert exemplary.trace is not None
    assert exemplary.accepted_ns[exemplary.traced] == first.accepted_ns
    last.traceparent = sampled
    batch = Batch(NDJSON, [first, last])
    assert batch.trace is not None
    assert f"{batch.trace.span_id:016x}" in sampled
    assert batch.accepted_ns[batch.traced] == last.accepted_ns
    last.traceparent = f"{sampled[:-1]}0"
    assert Batch(NDJSON, [first, last]).trace is None
