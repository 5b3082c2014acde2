from __future__ import annotations

import re
import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riptide.errors import InvalidMessageError, InvalidPositionError, InvalidTopicError
from riptide.message import (
    MAX_TOPIC_LENGTH,
    Edge,
    Message,
    MessageId,
    check_topic,
    parse_payload,
    parse_position,
)
from tests.app.messages import make_message

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.from_regex(r"[0-9a-f]{8}", fullmatch=True), st.integers(0, 10**18 - 1))
def test_an_id_survives_being_written_and_read(epoch: str, sequence: int) -> None:
    assert MessageId.parse(str(MessageId(epoch, sequence))) == (epoch, sequence)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3f9a1c2e",
        "3f9a1c2e-",
        "3f9a1c2e-01",
        "3f9a1c2e--1",
        "3F9A1C2E-1",
        "3f9a1c2-1",
        "3f9a1c2e-1 ",
        "3f9a1c2e-1\n",
        "3f9a1c2e-\N{ARABIC-INDIC DIGIT ONE}",
        "3f9a1c2e-1000000000000000000",
        "EARLIEST",
        "x" * 10_000,
    ],
)
def test_what_is_not_quite_an_id_is_refused_in_a_short_sentence(text: str) -> None:
    with pytest.raises(InvalidPositionError) as caught:
        parse_position(text)
    assert len(caught.value.detail) < 300
    assert "earliest, latest, or an id" in caught.value.detail


def test_the_largest_id_fits_the_integers_of_sqlite() -> None:
    assert MessageId.parse("00000000-999999999999999999").sequence < 2**63


def test_the_edges_are_positions() -> None:
    assert parse_position("earliest") is Edge.EARLIEST
    assert parse_position("latest") is Edge.LATEST


@pytest.mark.parametrize("name", ["a", "0", "orders.eu-1:x_y~z", "a" * MAX_TOPIC_LENGTH])
def test_a_topic_is_made_of_characters_that_need_no_escaping(name: str) -> None:
    assert check_topic(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".a", "-a", "a/b", "a b", "ä", "a\n", "a" * (MAX_TOPIC_LENGTH + 1)]
)
def test_other_names_are_not_topics(name: str) -> None:
    with pytest.raises(InvalidTopicError):
        check_topic(name)


@given(JSON, st.booleans())
def test_a_payload_is_one_line_and_the_same_value(value: object, indented: bool) -> None:  # noqa: FBT001  # drawn, never passed
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2 if indented else None)
    payload = parse_payload(text.replace(b"\n", b"\r\n"))
    assert not re.search(rb"[\r\n]", payload)
    assert orjson.loads(payload) == value


def test_digits_keys_and_escapes_stay_as_they_were_written() -> None:
    text = rb'{"b": 1.000000000000000000001, "a": 1e2, "a": "\u00e9\n"}'
    assert parse_payload(b" \r\n" + text + b"\n") == text


@pytest.mark.parametrize(
    "text", [b"", b" ", b"{", b"{} {}", b"NaN", b"'a'", b"\xff", b"\xef\xbb\xbf{}", b"[" * 100_000]
)
def test_what_is_not_json_is_not_a_payload(text: bytes) -> None:
    with pytest.raises(InvalidMessageError, match="not valid JSON"):
        parse_payload(text)


def test_a_message_knows_its_id_and_its_time_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        message = make_message(42)
        assert str(message.id) == "0a1b2c3d-42"
        assert message.time == "2023-11-14T22:13:20.123Z"
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.integers(0, 4_000_000_000_000))
def test_the_milliseconds_of_a_time_are_exact(milliseconds: int) -> None:
    message = Message("00000000", 1, milliseconds * 1_000_000 + 999_999, 0, b"0")
    assert message.time.endswith(f".{milliseconds % 1000:03d}Z")


def test_a_trace_counts_among_what_a_message_holds() -> None:
    plain, traced = (
        Message("0", 1, 0, 0, b"0"),
        Message(
            "0",
            1,
            0,
            0,
            b"0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
    )
    assert traced.held_bytes() == plain.held_bytes() + len(traced.traceparent)


@pytest.mark.parametrize(
    ("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True)]
)
def test_a_message_is_sampled_if_its_trace_says_so(flags: str, *, sampled: bool) -> None:
    traceparent = f"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}"
    assert Message("0", 1, 0, 0, b"0", traceparent).sampled is sampled
    assert not Message("0", 1, 0, 0, b"0").sampled
