from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riptide_telemetry.middleware.message_counters import (
    Chunks,
    MessageCounter,
    NdjsonLines,
    SseEvents,
    Uncounted,
)

# Pieces of bodies, with line ends of every kind among them.
MARK = "\ufeff".encode()
SSE_PIECES = [b"data: x", b"data:", b"data", b"database: x", b"id: 1", b"retry: 5", b": data:"]
SSE_PIECES += [
    b"\xc3\xa9",
    MARK,
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    b"\r\r",
    b"\r\n\r\n",
    b"d",
    b"a",
    b":",
    b" ",
]
NDJSON_PIECES = [b'{"a": 1}', b"7", b" ", b"\t", b"\r", b"\n", b"\r\n", b"\n\n", b"\xc3\xa9"]


def bodies(pieces: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(pieces), max_size=30).map(b"".join)


def split(body: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(edges)]


def count(counter: MessageCounter, *chunks: bytes) -> int:
    return sum(counter.feed(chunk) for chunk in chunks) + counter.finish()


def events_as_the_standard_dispatches_them(body: bytes) -> int:
    """Count the events of a whole body as the HTML standard's algorithm does, line by line."""
    dispatched, has_data = 0, False
    *lines, _ = body.removeprefix(MARK).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    for line in lines:
        if not line:
            dispatched += has_data
            has_data = False
        elif line.partition(b":")[0] == b"data":
            has_data = True
    return dispatched


@given(
    bodies(SSE_PIECES) | bodies(SSE_PIECES).map(MARK.__add__),
    st.lists(st.integers(min_value=0), max_size=12),
)
def test_any_split_of_an_sse_body_counts_what_the_standard_dispatches(
    body: bytes, cuts: list[int]
) -> None:
    expected = events_as_the_standard_dispatches_them(body)
    assert count(SseEvents(), body) == expected
    assert count(SseEvents(), *split(body, cuts)) == expected
    assert count(SseEvents(), *(bytes([byte]) for byte in body)) == expected


@given(bodies(NDJSON_PIECES), st.lists(st.integers(min_value=0), max_size=12))
def test_any_split_of_an_ndjson_body_counts_its_lines_that_are_not_blank(
    body: bytes, cuts: list[int]
) -> None:
    expected = sum(1 for line in body.split(b"\n") if line.strip())
    assert count(NdjsonLines(), body) == expected
    assert count(NdjsonLines(), *split(body, cuts)) == expected
    assert count(NdjsonLines(), *(bytes([byte]) for byte in body)) == expected


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_an_event_ends_at_a_blank_line_of_any_kind(end: bytes) -> None:
    event = b"event: tick" + end + b"data: 1" + end + b"data: 2" + end + end
    assert SseEvents().feed(event) == 1
    assert SseEvents().feed(event * 3) == 3


@pytest.mark.parametrize(
    "block", [b": heartbeat\n\n", b"retry: 5000\n\n", b"\n\n\n\n", b"id: 7\n\n", b": data: x\n\n"]
)
def test_a_block_without_data_is_no_message(block: bytes) -> None:
    assert SseEvents().feed(block) == 0


def test_an_event_counts_when_its_blank_line_comes() -> None:
    counter = SseEvents()
    assert counter.feed(b"data: x\r") == 0
    assert counter.feed(b"\n") == 0
    assert counter.feed(b"\r") == 1
    assert counter.feed(b"\n") == 0


def test_a_byte_order_mark_before_the_body_is_no_part_of_the_first_event() -> None:
    assert SseEvents().feed(MARK + b"data: 1\n\n") == 1
    assert count(SseEvents(), b"\xef", b"\xbb", b"\xbf", b"data: 1\n\n") == 1
    assert count(SseEvents(), MARK, b"data: 1\n\n", b"data: 2\n\n") == 2
    # Only one mark, and only at the very beginning.
    assert SseEvents().feed(MARK + MARK + b"data: 1\n\n") == 0
    assert count(SseEvents(), b"data: 1\n\n", MARK + b"data: 2\n\n") == 1
    assert count(SseEvents(), MARK[:2]) == 0


def test_an_event_that_the_end_of_the_body_cuts_off_is_no_message() -> None:
    assert count(SseEvents(), b"data: 1\n\ndata: 2\n") == 1


def test_a_last_line_without_newline_is_a_message() -> None:
    assert count(NdjsonLines(), b'{"a": 1}\n{"a"', b": 2}") == 2


@pytest.mark.parametrize("counter", [SseEvents(), NdjsonLines()])
def test_what_is_remembered_of_an_endless_message_is_a_few_bytes(counter: MessageCounter) -> None:
    counter.feed(b"data: ")
    for _ in range(100):
        assert counter.feed(b"x" * 1000) == 0
    slots = type(counter).__slots__  # type: ignore[attr-defined]  # both counters have slots
    remembered = [getattr(counter, slot) for slot in slots]
    assert all(value in {True, False} or len(value) <= 10 for value in remembered)


def test_of_an_unknown_format_each_write_with_bytes_is_a_message() -> None:
    assert count(Chunks(), b"once", b"", b" upon\n\n", b" a time") == 3


def test_nothing_is_counted_in_what_cannot_be_read() -> None:
    assert count(Uncounted(), b"\x1f\x8b\n\n") == 0
