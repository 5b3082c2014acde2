from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riptide.cli.errors import CommandError
from riptide.cli.records import as_data, as_record, as_text, describe, parse
from tests.app.cli.scripted_service import message, message_id

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("data"), inner),
    max_leaves=8,
)


@given(json_values, st.booleans())
def test_the_value_is_cut_out_of_a_message_byte_for_byte(value: object, ascii_only: bool) -> None:  # noqa: FBT001  # drawn, not passed
    published = json.dumps(value, ensure_ascii=ascii_only, indent=1).replace("\n", " ").encode()
    record = message(1, published)
    members = json.loads(record)
    assert as_data(record, members) == published
    assert as_record(record, members) == record


@pytest.mark.parametrize(
    "record",
    [
        b'{"id":"x-1","time":"t","data":[1],"more":{"data":2}}',
        b'{"data":[1],"id":"x-1","time":"t"}',
        b'{"id":"x-1","data":[1],"time":"t"}',
        b'{"id":"x-1","via":{"x":0,"data":2},"time":"t","data":[1]}',
        b'{"id":{"x":0,"data":2},"time":"t","data":[1]}',
        b'{ "id": "x-1", "time": "t", "data": [1] }',
    ],
)
def test_the_value_is_found_wherever_a_message_has_it(record: bytes) -> None:
    assert as_data(record, parse(record)) == b"[1]"


@pytest.mark.parametrize("value", [b"1e2", b"12345678901234567890123.10", b'{"b":1,"a":"\\u00e9"}'])
def test_the_value_of_a_traced_message_is_as_it_was_published_too(value: bytes) -> None:
    trace = f"00-{'0af7651916cd43dd' * 2}-b7ad6b7169203331-01".encode()
    record = b'{"id":"x-1","time":"t","traceparent":"%b","data":%b}' % (trace, value)
    assert as_data(record, parse(record)) == value


def test_only_a_value_that_is_a_string_becomes_text() -> None:
    text, value = message(1, b'"caf\\u00e9\\n"'), message(2, b'["caf\\u00e9"]')
    assert as_text(text, parse(text)) == "café\n".encode()
    assert as_text(value, parse(value)) == b'["caf\\u00e9"]'


@pytest.mark.parametrize(
    ("sent", "complaint"),
    [
        (b"<h1>Welcome</h1>", "not JSON"),
        (b'{"id":"x-1"', "not JSON"),
        (b'{"hello":1}', "not a record: check --url"),
        (b'["data"]', "not a record: check --url"),
        (b'"event"', "not a record: check --url"),
    ],
)
def test_what_is_no_record_is_an_error_of_the_command(sent: bytes, complaint: str) -> None:
    with pytest.raises(CommandError, match=complaint):
        parse(sent)


@pytest.mark.parametrize(
    ("control", "expected"),
    [
        ({"event": "opened", "id": message_id(3)}, f"opened, after {message_id(3)}"),
        ({"event": "opened"}, "opened, after the beginning"),
        ({"event": "progress", "completed": 1}, "progress: 1 of ? messages"),
        ({"event": "end", "reason": "draining"}, "ended: draining"),
        ({"event": "end", "reason": "draining", "detail": "restart"}, "ended: restart"),
        ({"event": "{news}", "text": "x"}, "{news}"),
    ],
)
def test_a_control_record_is_a_sentence_whatever_it_lacks(
    control: dict[str, object], expected: str
) -> None:
    assert describe(control) == expected


def test_a_loss_of_unknown_size_is_still_told() -> None:
    for event in ("gap", "dropped"):
        assert describe({"event": event}).startswith(f"{event}: some messages missed")
