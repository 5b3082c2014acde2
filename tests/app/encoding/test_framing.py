from __future__ import annotations

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from riptide.encoding.framing import http_chunk, websocket_text


def test_a_chunk_says_its_length_in_hexadecimal() -> None:
    assert http_chunk([b"0123456789", b"abcdefghij"]) == b"14\r\n0123456789abcdefghij\r\n"


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536, 200_000])
def test_frames_of_every_length_are_read_by_a_websocket_client(length: int) -> None:
    payloads = [b"x" * length, b"next"]
    client = ClientProtocol(parse_uri("ws://localhost/"), max_size=None, state=State.OPEN)
    client.receive_data(websocket_text(payloads))
    frames = client.events_received()
    assert client.parser_exc is None
    assert all(isinstance(frame, Frame) and frame.opcode is Opcode.TEXT for frame in frames)
    assert [frame.data for frame in frames if isinstance(frame, Frame)] == payloads
