"""The three encodings, as rings and streams use them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from riptide.encoding import framing, ndjson, sse, websocket
from riptide_telemetry import StreamProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from riptide.encoding.envelope import Control
    from riptide.message import Message


class Encoding(NamedTuple):
    """How messages and control records look on one transport.

    ``slot`` is the index of this encoding in ``Message.encoded``. ``joins`` says whether encoded
    messages may be joined into one piece: a chunk of an HTTP body may hold any number of records,
    a WebSocket frame holds one. ``to_wire`` puts the framing around encoded messages, and returns
    the bytes for the socket.
    """

    protocol: StreamProtocol
    slot: int
    joins: bool
    encode_message: Callable[[Message], bytes]
    encode_control: Callable[[Control], bytes]
    to_wire: Callable[[Sequence[bytes]], bytes]

    def encode(self, messages: Sequence[Message]) -> list[bytes]:
        """Return the encoded messages; each message is encoded once for all consumers."""
        slot, encode = self.slot, self.encode_message
        pieces: list[bytes] = []
        for message in messages:
            piece = message.encoded[slot]
            if piece is None:
                piece = message.encoded[slot] = encode(message)
            pieces.append(piece)
        return pieces


NDJSON = Encoding(
    StreamProtocol.NDJSON, 0, True, ndjson.encode_message, ndjson.encode_control, framing.http_chunk
)
SSE = Encoding(
    StreamProtocol.SSE, 1, True, sse.encode_message, sse.encode_control, framing.http_chunk
)
WEBSOCKET = Encoding(
    StreamProtocol.WEBSOCKET,
    2,
    False,
    websocket.encode_message,
    websocket.encode_control,
    framing.websocket_text,
)
