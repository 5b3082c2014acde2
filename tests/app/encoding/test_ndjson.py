from __future__ import annotations

import orjson

from riptide.encoding.ndjson import encode_control, encode_message
from tests.app.messages import make_message


def test_a_message_is_a_line() -> None:
    line = encode_message(make_message(7, b'"x"'))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert orjson.loads(line) == {
        "id": "0a1b2c3d-7",
        "time": "2023-11-14T22:13:20.123Z",
        "data": "x",
    }


def test_a_control_record_is_a_line_that_names_its_event() -> None:
    line = encode_control({"event": "heartbeat", "id": "0a1b2c3d-7"})
    assert line == b'{"event":"heartbeat","id":"0a1b2c3d-7"}\n'
