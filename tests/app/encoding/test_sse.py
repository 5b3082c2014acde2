from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from riptide.encoding.sse import encode_control, encode_message
from riptide.message import parse_payload
from tests.app.messages import make_message


def parse_event(text: bytes) -> dict[str, str]:
    """Read one event as a browser does: any of the three line ends ends a line."""
    assert text.endswith(b"\n\n")
    normal = text.decode().replace("\r\n", "\n").replace("\r", "\n")
    *lines, empty, end = normal.split("\n")
    assert (empty, end) == ("", "")
    assert "" not in lines, "an event ended early"
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        assert name not in fields
        fields[name] = value
    return fields


def test_a_message_is_an_event_of_the_default_type_with_its_id() -> None:
    event = parse_event(encode_message(make_message(7, b"[1]")))
    assert event.keys() == {"id", "data"}
    assert event["id"] == "0a1b2c3d-7"
    assert orjson.loads(event["data"])["data"] == [1]


@given(
    st.recursive(st.text(), lambda inner: st.lists(inner, max_size=3)),
    st.sampled_from([b"\n", b"\r", b"\r\n"]),
)
def test_no_payload_breaks_out_of_its_event(value: Any, line_break: bytes) -> None:
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2).replace(b"\n", line_break)
    event = parse_event(encode_message(make_message(1, parse_payload(text))))
    assert orjson.loads(event["data"])["data"] == value


def test_a_control_record_is_an_event_of_its_own_type_with_id_and_retry_as_fields() -> None:
    record = {"event": "opened", "id": "0a1b2c3d-7", "topic": "t", "retry": 2000}
    event = parse_event(encode_control(record))
    assert orjson.loads(event.pop("data")) == record
    assert event == {"event": "opened", "id": "0a1b2c3d-7", "retry": "2000"}


def test_what_a_record_does_not_have_is_not_a_field() -> None:
    assert parse_event(encode_control({"event": "note"})).keys() == {"event", "data"}


@given(st.text())
def test_no_detail_breaks_out_of_its_event(detail: str) -> None:
    event = parse_event(encode_control({"event": "end", "detail": detail}))
    assert orjson.loads(event["data"])["detail"] == detail
