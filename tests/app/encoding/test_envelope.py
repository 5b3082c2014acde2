from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from riptide.encoding.envelope import encode_control, encode_message
from riptide.message import parse_payload
from tests.app.messages import make_message


def test_a_message_is_an_object_with_id_time_and_data() -> None:
    assert encode_message(make_message(42, b'{"a":[1,2]}')) == (
        b'{"id":"0a1b2c3d-42","time":"2023-11-14T22:13:20.123Z","data":{"a":[1,2]}}'
    )


def test_the_payload_is_passed_on_byte_for_byte() -> None:
    payload = rb'{"b": 1.00000000000000000001, "a": "%d \u00e9", "a": 1}'
    assert encode_message(make_message(1, payload)).endswith(b'"data":' + payload + b"}")


@given(st.text() | st.integers(-(2**53), 2**53) | st.lists(st.text()) | st.none())
def test_whatever_was_published_is_what_consumers_parse(value: object) -> None:
    payload = parse_payload(orjson.dumps(value, option=orjson.OPT_INDENT_2))
    line = encode_message(make_message(1, payload))
    assert orjson.loads(line)["data"] == value
    assert b"\n" not in line
    assert b"\r" not in line


@given(st.text())
def test_a_control_record_is_one_line_whatever_it_says(detail: str) -> None:
    line = encode_control({"event": "end", "detail": detail})
    assert orjson.loads(line) == {"event": "end", "detail": detail}
    assert b"\n" not in line
    assert b"\r" not in line


def test_a_traced_message_shows_its_trace_before_its_data() -> None:
    message = make_message(42, b'{"traceparent":"mine"}')
    message.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    record = orjson.loads(encode_message(message))
    assert list(record) == ["id", "time", "traceparent", "data"]
    assert record["traceparent"] == message.traceparent
    assert record["data"] == {"traceparent": "mine"}
