"""Frames come out as they went in, whatever pieces they come in."""

from __future__ import annotations

import itertools
import typing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riptide.message import Acceptance, Message
from riptide.storage.shared import frames
from tests.app.messages import make_messages

if TYPE_CHECKING:
    from collections.abc import Sequence

NUMBERS = st.integers(0, 2**63 - 1)
ROWS = st.tuples(st.text(max_size=8), NUMBERS, NUMBERS, NUMBERS, st.binary(), st.text(max_size=60))
RECORDS = st.builds(frames.Record, topic=st.text(max_size=20), rows=st.lists(ROWS, max_size=4))
APPENDS = st.builds(
    frames.Append,
    request=NUMBERS,
    topic=st.text(max_size=20),
    payloads=st.lists(st.binary(), max_size=4),
    accepted_at=NUMBERS,
    accepted_ns=NUMBERS,
    traceparent=st.text(max_size=60),
)


def _bodies(pieces: Sequence[bytes]) -> list[bytes]:
    reader = frames.FrameReader()
    return [bytes(body) for piece in pieces for body in reader.feed(piece)]


@given(st.lists(RECORDS, max_size=5), st.lists(st.integers(0, 400), max_size=8))
def test_frames_are_found_in_whatever_pieces_they_come(
    records: list[frames.Record], cuts: list[int]
) -> None:
    sent = b"".join(map(frames.encode, records))
    edges = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    pieces = [sent[start:end] for start, end in itertools.pairwise(edges)]
    assert [frames.of_log.decode(body) for body in _bodies(pieces)] == records


@given(APPENDS)
def test_an_append_comes_out_as_it_went_in(append: frames.Append) -> None:
    (body,) = _bodies([frames.encode(append)])
    assert frames.of_worker.decode(body) == append


def test_frames_are_found_byte_by_byte_and_what_is_not_complete_is_waited_for() -> None:
    sent = frames.encode(frames.Unfollow("a")) + frames.encode(frames.AskBounds(7, "b"))
    pieces = [sent[n : n + 1] for n in range(len(sent))]
    found = [frames.of_worker.decode(body) for body in _bodies(pieces)]
    assert found == [frames.Unfollow("a"), frames.AskBounds(7, "b")]
    assert len(_bodies(pieces[:-1])) == 1


def test_messages_come_out_as_they_went_in() -> None:
    sent = [
        *make_messages(3, 4),
        Message("ffffffff", 5, Acceptance(1, 2), b'"x"', f"00-{'a' * 32}-{'b' * 16}-01"),
    ]
    received = frames.messages_of(frames.rows_of(sent))
    for one, other in zip(sent, received, strict=True):
        assert one.id == other.id
        assert (one.accepted_at, one.accepted_ns) == (other.accepted_at, other.accepted_ns)
        assert (one.payload, one.traceparent) == (other.payload, other.traceparent)


@pytest.mark.parametrize("frames_of", [frames.OfWorker, frames.OfLog])
def test_no_two_frames_of_one_direction_are_mistaken_for_each_other(frames_of: object) -> None:
    kinds = typing.get_args(frames_of)
    tags = [kind.__struct_config__.tag for kind in kinds]
    assert len(set(tags)) == len(tags)
