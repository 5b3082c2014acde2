from __future__ import annotations

import orjson

from riptide.encoding import envelope
from riptide.encoding.websocket import encode_control, encode_message
from tests.app.messages import make_message


def test_a_message_is_the_payload_of_a_frame() -> None:
    message = make_message(7, '"é ☃"'.encode())
    text = encode_message(message)
    assert text == envelope.encode_message(message)
    assert orjson.loads(text)["data"] == "é ☃"


def test_a_control_record_is_the_payload_of_a_frame() -> None:
    assert encode_control({"event": "end", "detail": "é"}) == (
        '{"event":"end","detail":"é"}'.encode()
    )
