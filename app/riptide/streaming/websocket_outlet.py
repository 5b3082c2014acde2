"""Streams over WebSocket, on which the client may send hellos."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from riptide.encoding.formats import WEBSOCKET
from riptide.errors import InvalidPositionError
from riptide.hub.stream_range import parse_range
from riptide.streaming.connection import connection_of
from riptide_telemetry import CloseReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Message as AsgiMessage
    from starlette.types import Receive, Scope, Send

    from riptide.hub.stream_range import StreamRange

# Room for the reason in a close frame: 125 bytes less 2 for the code (RFC 6455, section 5.5).
REASON_BYTES = 123
# Close codes with which the server's protocol class, and not the session, ends a connection.
PARSER_CODES = {
    1002: CloseReason.INVALID_FRAME,
    1007: CloseReason.INVALID_FRAME,
    1008: CloseReason.TOO_MANY_FRAMES,
    1009: CloseReason.FRAME_TOO_LARGE,
}
HELLO_HELP = 'say {"after": "earliest", "latest" or an id}, optionally with "until": "latest"'


class WebSocketOutlet:
    """An ``Outlet`` that sends text frames.

    A client's text frame is a hello, ``{"after": …, "until": …}``: it ends the current stream and
    begins another on the same connection.
    """

    __slots__ = ("_receive", "_send", "connection", "direct", "encoding")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.encoding = WEBSOCKET
        self.connection = connection_of(scope)
        self.direct = self.connection.transport is not None
        self._receive = receive
        self._send = send

    async def open(self) -> None:
        """Accept the handshake."""
        await self._send({"type": "websocket.accept"})

    async def write(self, frame: bytes) -> None:
        """Hand a text frame to the server."""
        await self._send({"type": "websocket.send", "text": frame.decode()})

    async def close(self, reason: CloseReason, detail: str) -> None:
        """Send a close frame."""
        text = (detail or reason.meaning).encode()[:REASON_BYTES].decode(errors="ignore")
        await self._send({"type": "websocket.close", "code": reason.websocket_code, "reason": text})

    async def listen(self, hello: Callable[[StreamRange], None]) -> tuple[CloseReason, str]:
        """Pass hellos on until the client goes or sends a frame that is not a hello."""
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return self._ending(message), ""
            if message["type"] != "websocket.receive":
                continue
            text = message.get("text")
            if text is None:
                return CloseReason.UNSUPPORTED_FRAME, f"binary frame: {HELLO_HELP}"
            try:
                hello(parse_hello(text))
            except InvalidPositionError as error:
                return CloseReason.INVALID_FRAME, error.detail

    def _ending(self, message: AsgiMessage) -> CloseReason:
        code = message.get("code")
        if code in PARSER_CODES:
            return PARSER_CODES[code]
        # The connection was lost before the client had sent a close frame.
        if self.connection.lost or code == CloseReason.CLIENT_VANISHED.websocket_code:
            return CloseReason.CLIENT_VANISHED
        return CloseReason.CLIENT_CLOSED


def parse_hello(text: str) -> StreamRange:
    """Read a hello.

    Raises:
        InvalidPositionError: the text is not a hello, or names no position.

    """
    try:
        hello = orjson.loads(text)
    except orjson.JSONDecodeError:
        # Not called invalid JSON: some JSON is not read either, such as numbers that are too large.
        raise InvalidPositionError(f"not a hello: {HELLO_HELP}") from None
    if not isinstance(hello, dict) or not hello.keys() <= {"after", "until"}:
        raise InvalidPositionError(f"not a hello: {HELLO_HELP}")
    after, until = hello.get("after"), hello.get("until")
    if not isinstance(after, str | None) or not isinstance(until, str | None):
        raise InvalidPositionError(f"not a hello: {HELLO_HELP}")
    return parse_range(after, until)
