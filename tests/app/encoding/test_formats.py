from __future__ import annotations

import pytest

from riptide.encoding.formats import NDJSON, SSE, WEBSOCKET, Encoding
from tests.app.messages import make_message, make_messages

ALL = pytest.mark.parametrize("encoding", [NDJSON, SSE, WEBSOCKET], ids=["ndjson", "sse", "ws"])


@pytest.mark.parametrize("encoding", [NDJSON, SSE], ids=["ndjson", "sse"])
def test_neighbours_become_one_chunk_of_an_http_body(encoding: Encoding) -> None:
    pieces = encoding.encode(make_messages(1, 3))
    size, _, chunk = encoding.to_wire(pieces).partition(b"\r\n")
    assert chunk == b"".join(pieces) + b"\r\n"
    assert int(size, 16) == len(chunk) - 2


def test_neighbours_stay_frames_of_their_own_over_websocket() -> None:
    pieces = WEBSOCKET.encode(make_messages(1, 3))
    assert WEBSOCKET.to_wire(pieces) == b"".join(WEBSOCKET.to_wire([piece]) for piece in pieces)


@ALL
def test_a_message_is_encoded_once_for_all_consumers(encoding: Encoding) -> None:
    messages = make_messages(1, 3)
    calls = []

    def encode(message: object) -> bytes:
        calls.append(message)
        return b"x"

    counting = encoding._replace(encode_message=encode)
    counting.encode(messages[:2])
    counting.encode(messages)
    assert calls == messages


def test_encodings_do_not_mistake_each_others_frames_for_their_own() -> None:
    message = make_message()
    frames = [encoding.encode([message])[0] for encoding in (NDJSON, SSE, WEBSOCKET)]
    assert message.encoded == frames
    assert frames == [e.encode_message(message) for e in (NDJSON, SSE, WEBSOCKET)]


@ALL
def test_no_messages_are_no_records(encoding: Encoding) -> None:
    assert encoding.encode([]) == []
