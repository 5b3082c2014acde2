from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riptide.message import NANOSECONDS, Acceptance, MessageId
from riptide.storage.jetstream.record import (
    HEADER,
    MAX_PARTS,
    PARTS,
    ForeignMessageError,
    Part,
    Record,
    read,
)
from tests.app.messages import ACCEPTED_AT, EPOCH
from tests.app.storage.jetstream.records import make_record

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

epochs = st.text("0123456789abcdef", min_size=8, max_size=8)
hexadecimal = "0123456789abcdef"
traceparents = st.just("") | st.tuples(
    st.text(hexadecimal, min_size=32, max_size=32), st.text(hexadecimal, min_size=16, max_size=16)
).map(lambda ids: f"00-{ids[0]}-{ids[1]}-01")
# JSON on one line.
payloads = st.binary(min_size=1, max_size=20).map(lambda data: data.replace(b"\n", b" "))


@st.composite
def records(draw: st.DrawFn) -> Record:
    parts, lines = [], []
    for _ in range(draw(st.integers(0, 5))):
        of_part = draw(st.lists(payloads, min_size=1, max_size=4))
        at = draw(st.integers(0, 2**63))
        parts.append(Part(len(of_part), at, draw(traceparents)))
        lines += of_part
    writer = f"{draw(epochs)}.{draw(st.integers(0, 10**18 - 1))}"
    return Record(draw(epochs), draw(st.integers(1, 10**17)), writer, parts, lines)


@given(record=records())
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    assert read(record.headers(), record.body()) == record


@given(record=records())
def test_its_messages_have_what_was_published_and_are_numbered_from_its_first_one(
    record: Record,
) -> None:
    messages = record.messages(Acceptance.now())
    assert [m.payload for m in messages] == list(record.payloads)
    assert [m.id for m in messages] == [
        MessageId(record.epoch, record.first + n) for n in range(len(record.payloads))
    ]
    of_parts = [part for part in record.parts for _ in range(part.length)]
    assert [m.accepted_at for m in messages] == [part.accepted_at for part in of_parts]
    assert [m.traceparent for m in messages] == [part.traceparent for part in of_parts]
    assert record.head.sequence == record.first + len(messages) - 1


def test_messages_keep_the_moment_of_their_acceptance_on_this_processs_clock() -> None:
    now = Acceptance(unix_ns=1_000 * NANOSECONDS, monotonic_ns=50 * NANOSECONDS)
    (message,) = make_record(1, accepted_at=990 * NANOSECONDS).messages(now)
    assert (message.accepted_at, message.accepted_ns) == (990 * NANOSECONDS, 40 * NANOSECONDS)


def test_the_moment_of_a_record_is_that_of_its_newest_message() -> None:
    record = Record(EPOCH, 1, f"{EPOCH}.1", [Part(1, 5), Part(1, 7)], [b"1", b"2"])
    assert record.accepted_at() == 7
    assert make_record(1, 0).accepted_at() == 0


def test_a_record_without_messages_tells_the_number_before_it() -> None:
    empty = make_record(8, 0)
    assert empty.head == MessageId(EPOCH, 7)
    assert empty.body() == b""
    assert read(empty.headers(), b"") == empty._replace(parts=[])
    assert read({HEADER: empty.headers()[HEADER]}, b"") == empty._replace(parts=[])
    assert empty.messages(Acceptance.now()) == []


def test_the_headers_of_the_largest_record_have_room_in_a_message_of_nats() -> None:
    parts = [Part(999_999_999, 2**63, TRACEPARENT)] * MAX_PARTS
    headers = Record(EPOCH, 10**17, f"{EPOCH}.{10**18 - 1}", parts).headers()
    assert sum(len(name) + len(value) for name, value in headers.items()) < 32 * 1024


GOOD = Record(EPOCH, 3, f"{EPOCH}.9", [Part(1, ACCEPTED_AT, TRACEPARENT), Part(1, 7)], [b"1", b"2"])


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "hello",
        f"2 {EPOCH} 3 2 {EPOCH}.9",  # of a later version
        f"1 {EPOCH.upper()} 3 2 {EPOCH}.9",
        f"1 {EPOCH[:7]} 3 2 {EPOCH}.9",
        f"1 {EPOCH} 0 2 {EPOCH}.9",  # numbers begin with 1
        f"1 {EPOCH} -3 2 {EPOCH}.9",
        f"1 {EPOCH} 03 2 {EPOCH}.9",
        f"1 {EPOCH} {10**18} 2 {EPOCH}.9",  # too large for an id
        f"1 {EPOCH} \u0663 2 {EPOCH}.9",
        f"1 {EPOCH} 3 3 {EPOCH}.9",  # the body has two
        f"1 {EPOCH} 3 1 {EPOCH}.9",
        f"1 {EPOCH} 3 0 {EPOCH}.9",
        f"1 {EPOCH} 3 2 {EPOCH}",
        f"1 {EPOCH} 3 2 ",
        f"1 {EPOCH} 3 2 {EPOCH}.9 more",
        f" 1 {EPOCH} 3 2 {EPOCH}.9",
        f"1 {EPOCH} 3 2 {EPOCH}.9\n",
    ],
)
def test_a_message_whose_header_is_not_that_of_a_record_is_foreign(header: str | None) -> None:
    headers = GOOD.headers()
    if header is None:
        del headers[HEADER]
    else:
        headers[HEADER] = header
    with pytest.raises(ForeignMessageError):
        read(headers, GOOD.body())


@pytest.mark.parametrize(
    "parts",
    [
        None,
        "",
        "1@5",
        "1@5;1@7;1@8",
        "3@5",
        "0@5;2@7",
        "-1@5;3@7",
        "2@",
        "@5",
        "2",
        "2@5/",
        "2@5/abc",
        f"2@5/{TRACEPARENT}x",
        f"2@5/{TRACEPARENT.upper()}",
        "2@-5",
        f"2@{10**19}",
        "1@5,1@7",
        "1@5; 1@7",
        "1@\u0665;1@7",
        "1@5;hello",
    ],
)
def test_a_message_whose_parts_are_not_those_of_a_record_is_foreign(parts: str | None) -> None:
    headers = GOOD.headers()
    if parts is None:
        del headers[PARTS]
    else:
        headers[PARTS] = parts
    with pytest.raises(ForeignMessageError):
        read(headers, GOOD.body())


def test_a_message_without_headers_is_foreign() -> None:
    with pytest.raises(ForeignMessageError):
        read(None, b"")
    with pytest.raises(ForeignMessageError):
        read({}, b"")


@given(header=st.text(max_size=60), parts=st.text("0123456789@/;-", max_size=40), body=st.binary())
def test_whatever_a_message_has_it_is_a_record_or_foreign(
    header: str, parts: str, body: bytes
) -> None:
    for first in (header, GOOD.headers()[HEADER]):
        try:
            record = read({HEADER: first, PARTS: parts}, body)
        except ForeignMessageError:
            continue
        assert len(record.messages(Acceptance.now())) == len(record.payloads)
