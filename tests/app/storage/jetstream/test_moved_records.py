from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from riptide.message import Acceptance, Message
from riptide.storage.jetstream import record
from riptide.storage.jetstream.appender import RECORD_BYTES
from riptide.storage.jetstream.moved_records import records_of, trace_of
from riptide.storage.jetstream.record import MAX_PARTS, Record
from tests.app.messages import ACCEPTED_AT, make_message

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def _records(messages: list[Message]) -> list[Record]:
    return list(records_of(messages, (f"0a1b2c3d.{n}" for n in itertools.count(1))))


def _content(message: Message) -> tuple[str, int, int, bytes, str]:
    m = message
    return m.epoch, m.sequence, m.accepted_at, m.payload, m.traceparent


@st.composite
def _logs(draw: st.DrawFn) -> list[Message]:
    """Messages of several lives, moments and traces, some of which are missing."""
    number, epoch, moment, messages = 0, 1, ACCEPTED_AT, list[Message]()
    for _ in range(draw(st.integers(0, 60))):
        number += draw(st.sampled_from([1, 1, 1, 1, 7]))
        epoch += draw(st.sampled_from([0, 0, 0, 0, 1]))
        moment += draw(st.sampled_from([0, 0, 1]))
        size = draw(st.sampled_from([1, 10, 100_000, 300_000]))
        trace = draw(st.sampled_from(["", "", TRACE]))
        messages.append(Message(f"{epoch:08x}", number, moment, 0, b"x" * size, trace))
    return messages


@given(_logs())
@settings(max_examples=100, deadline=None)
def test_records_are_read_as_the_messages_that_they_were_made_of(messages: list[Message]) -> None:
    found = []
    for made in _records(messages):
        read = record.read(made.headers(), made.body())
        assert (read.epoch, read.first, read.payloads) == (made.epoch, made.first, made.payloads)
        assert len(made.parts) <= MAX_PARTS
        assert len(made.payloads) == 1 or sum(map(len, made.payloads)) <= RECORD_BYTES
        found += read.messages(Acceptance.now())
    assert [_content(m) for m in found] == [_content(m) for m in messages]


def test_a_record_ends_with_its_life_before_what_is_missing_and_once_it_is_large() -> None:
    def firsts(messages: list[Message]) -> list[int]:
        return [each.first for each in _records(messages)]

    assert _records([]) == []
    assert firsts([make_message(n) for n in range(5, 500)]) == [5]
    assert firsts([make_message(1), make_message(2, epoch="00000002")]) == [1, 2]
    assert firsts([make_message(1), make_message(3), make_message(4)]) == [1, 3]
    half = b"x" * (RECORD_BYTES // 2)
    assert firsts([make_message(n, half) for n in (1, 2, 3)]) == [1, 3]
    assert firsts([make_message(n, 3 * half) for n in (1, 2)]) == [1, 2]
    apart = [Message("0a1b2c3d", n, n, 0, b"1") for n in range(1, MAX_PARTS + 3)]
    assert firsts(apart) == [1, MAX_PARTS + 1]
    # Each has a name of its own.
    assert [each.writer for each in _records(apart)] == ["0a1b2c3d.1", "0a1b2c3d.2"]


def test_messages_of_a_publication_are_one_part() -> None:
    (made,) = _records([make_message(1), make_message(2), Message("0a1b2c3d", 3, 5, 0, b"3")])
    assert [(part.length, part.accepted_at) for part in made.parts] == [(2, ACCEPTED_AT), (1, 5)]


def test_a_trace_that_a_header_cannot_hold_is_left_out() -> None:
    strange = Message("0a1b2c3d", 1, 5, 0, b"1", "strange;")
    assert trace_of(strange) == ""
    assert trace_of(Message("0a1b2c3d", 1, 5, 0, b"1", TRACE)) == TRACE
    (made,) = _records([strange])
    assert record.read(made.headers(), made.body()).parts[0].traceparent == ""
