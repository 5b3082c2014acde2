"""The three encodings side by side, as the ring and the streams use them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from app.encoding import ndjson, sse, websocket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.encoding.envelope import Control
    from app.message import Message

Frame = bytes | str
"""What is written at once: a piece of an HTTP body, or the text of one WebSocket frame."""


class Encoding(NamedTuple):
    """How messages and control records look on one transport.

    ``slot`` is the place of this encoding in ``Message.encoded``. ``joins`` says whether
    neighbours may be written as one frame: a piece of an HTTP body may hold any number of
    records, a WebSocket frame holds one.
    """

    slot: int
    joins: bool
    encode_message: Callable[[Message], Frame]
    encode_control: Callable[[Control], Frame]

    def frames(self, messages: Sequence[Message]) -> list[Frame]:
        """Encode the messages, each at most once in its life, into as few frames as can be."""
        slot, encode = self.slot, self.encode_message
        frames: list[Frame] = []
        for message in messages:
            frame = message.encoded[slot]
            if frame is None:
                frame = message.encoded[slot] = encode(message)
            frames.append(frame)
        return [b"".join(frames)] if self.joins else frames  # type: ignore[arg-type]  # joined encodings yield bytes


NDJSON = Encoding(0, True, ndjson.encode_message, ndjson.encode_control)
SSE = Encoding(1, True, sse.encode_message, sse.encode_control)
WEBSOCKET = Encoding(2, False, websocket.encode_message, websocket.encode_control)
