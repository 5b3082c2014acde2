"""The end of a stream over WebSocket, where the client may speak too."""

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

# What a close frame has room for, its code aside (RFC 6455, section 5.5).
REASON_BYTES = 123
# Codes with which the server's own parser ends a connection.
PARSER_CODES = {
    1002: CloseReason.INVALID_FRAME,
    1007: CloseReason.INVALID_FRAME,
    1008: CloseReason.TOO_MANY_FRAMES,
    1009: CloseReason.FRAME_TOO_LARGE,
}
HELLO_HELP = 'say {"after": "earliest", "latest" or an id}, optionally with "until": "latest"'


class WebSocketOutlet:
    """An ``Outlet`` that sends text frames.

    A client's frame is a hello: ``{"after": …, "until": …}`` ends the stream that runs and
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
        """Take hellos until the client goes or says something else."""
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
        # Lost before it said goodbye.
        if self.connection.lost or code == CloseReason.CLIENT_VANISHED.websocket_code:
            return CloseReason.CLIENT_VANISHED
        return CloseReason.CLIENT_CLOSED


def parse_hello(text: str) -> StreamRange:
    """Read a hello.

    Raises:
        InvalidPositionError: it is not JSON, not an object, or names no position.

    """
    try:
        hello = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise InvalidPositionError(f"not JSON: {HELLO_HELP}") from None
    if not isinstance(hello, dict) or not hello.keys() <= {"after", "until"}:
        raise InvalidPositionError(f"not a hello: {HELLO_HELP}")
    after, until = hello.get("after"), hello.get("until")
    if not isinstance(after, str | None) or not isinstance(until, str | None):
        raise InvalidPositionError(f"not a hello: {HELLO_HELP}")
    return parse_range(after, until)
