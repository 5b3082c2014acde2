from __future__ import annotations

import pytest

from app.encoding.formats import NDJSON, SSE, WEBSOCKET, Encoding
from tests.app.messages import make_message, make_messages

ALL = pytest.mark.parametrize("encoding", [NDJSON, SSE, WEBSOCKET], ids=["ndjson", "sse", "ws"])


@pytest.mark.parametrize("encoding", [NDJSON, SSE], ids=["ndjson", "sse"])
def test_neighbours_become_one_piece_of_an_http_body(encoding: Encoding) -> None:
    messages = make_messages(1, 3)
    (frame,) = encoding.frames(messages)
    encoded = [encoding.encode_message(message) for message in messages]
    assert frame == b"".join(part for part in encoded if isinstance(part, bytes))


def test_neighbours_stay_frames_of_their_own_over_websocket() -> None:
    messages = make_messages(1, 3)
    assert WEBSOCKET.frames(messages) == [WEBSOCKET.encode_message(m) for m in messages]


@ALL
def test_a_message_is_encoded_once_for_all_consumers(encoding: Encoding) -> None:
    messages = make_messages(1, 3)
    calls = []

    def encode(message: object) -> bytes:
        calls.append(message)
        return b"x"

    counting = encoding._replace(encode_message=encode)
    counting.frames(messages[:2])
    counting.frames(messages)
    assert calls == messages


def test_encodings_do_not_mistake_each_others_frames_for_their_own() -> None:
    message = make_message()
    frames = [encoding.frames([message])[0] for encoding in (NDJSON, SSE, WEBSOCKET)]
    assert message.encoded == frames
    assert frames == [e.encode_message(message) for e in (NDJSON, SSE, WEBSOCKET)]


@ALL
def test_no_messages_are_no_records(encoding: Encoding) -> None:
    assert (
        b"".join(
            frame.encode() if isinstance(frame, str) else frame for frame in encoding.frames([])
        )
        == b""
    )
