"""Frames come out as they went in, whatever pieces they come in."""

from __future__ import annotations

import itertools
import typing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riptide.message import Acceptance, Message
from riptide.publication import Publication
from riptide.storage.shared import frames
from tests.app.messages import make_messages

if TYPE_CHECKING:
    from collections.abc import Sequence

NUMBERS = st.integers(0, 2**63 - 1)
FRAMES = st.builds(frames.BoundsAre, request=NUMBERS, earliest=NUMBERS, head=NUMBERS) | st.builds(
    frames.NamesAre, request=NUMBERS, names=st.lists(st.text(max_size=20), max_size=4)
)
APPENDS = st.builds(
    frames.Append,
    request=NUMBERS,
    publication=st.builds(
        Publication,
        topic=st.text(max_size=20),
        payloads=st.lists(st.binary(), max_size=4),
        accepted=st.builds(Acceptance, NUMBERS, NUMBERS),
        traceparent=st.text(max_size=60),
    ),
)


def _bodies(pieces: Sequence[bytes]) -> list[bytes]:
    reader = frames.PacketReader()
    return [bytes(body) for piece in pieces for body in reader.feed(piece)]


@given(st.lists(st.lists(FRAMES, max_size=5)), st.lists(st.integers(0, 400), max_size=8))
def test_packets_are_found_in_whatever_pieces_they_come(
    packets: list[list[frames.OfLog]], cuts: list[int]
) -> None:
    sent = b"".join(frames.packet(each) for each in packets)
    edges = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    pieces = [sent[start:end] for start, end in itertools.pairwise(edges)]
    assert [frames.of_log.decode(body) for body in _bodies(pieces)] == packets


@given(APPENDS)
def test_an_append_comes_out_as_it_went_in(append: frames.Append) -> None:
    (body,) = _bodies([frames.packet([append])])
    (received,) = frames.of_worker.decode(body)
    assert received == append
    assert isinstance(received, frames.Append)
    assert isinstance(received.publication, Publication)
    assert isinstance(received.publication.accepted, Acceptance)


def test_packets_are_found_byte_by_byte_and_what_is_not_complete_is_waited_for() -> None:
    packets: list[list[frames.OfWorker]] = [
        [frames.Unfollow("a")],
        [frames.AskBounds(7, "b"), frames.Unfollow("c")],
    ]
    sent = b"".join(frames.packet(each) for each in packets)
    pieces = [sent[n : n + 1] for n in range(len(sent))]
    assert [frames.of_worker.decode(body) for body in _bodies(pieces)] == packets
    assert len(_bodies(pieces[:-1])) == 1


def test_messages_come_out_as_they_went_in() -> None:
    sent = [
        *make_messages(3, 4),
        Message("ffffffff", 5, 1, 2, b'"x"', f"00-{'a' * 32}-{'b' * 16}-01"),
    ]
    (body,) = _bodies([frames.packet([frames.Record("a", sent)])])
    (record,) = frames.of_log.decode(body)
    assert isinstance(record, frames.Record)
    for one, other in zip(sent, record.messages, strict=True):
        assert one.id == other.id
        assert (one.accepted_at, one.accepted_ns) == (other.accepted_at, other.accepted_ns)
        assert (one.payload, one.traceparent) == (other.payload, other.traceparent)
        assert other.encoded == [None, None, None]


@pytest.mark.parametrize("frames_of", [frames.OfWorker, frames.OfLog])
def test_no_two_frames_of_one_direction_are_mistaken_for_each_other(frames_of: object) -> None:
    kinds = typing.get_args(frames_of)
    tags = [kind.__struct_config__.tag for kind in kinds]
    assert len(set(tags)) == len(tags)
