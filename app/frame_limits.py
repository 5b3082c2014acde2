"""Limits to what a WebSocket client may send, beside the size of its messages.

A hello is one short frame. uvicorn's protocol checks the size of a message, but would keep any
number of empty fragments, and answer any number of pings to a client that reads no answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    from websockets.frames import Frame

MAX_FRAGMENTS = 64
TOO_BIG, INVALID_DATA = 1009, 1007


class LimitedWebSocketProtocol(WebSocketsSansIOProtocol):
    """WebSocket within limits; who exceeds one gets a close frame with its code."""

    def handle_cont(self, event: Frame) -> None:
        """Take a fragment of a message, if it has not too many."""
        if len(self.frames) >= MAX_FRAGMENTS:
            self._fail(TOO_BIG, f"more than {MAX_FRAGMENTS} fragments")
            return
        super().handle_cont(event)

    def handle_ping(self) -> None:
        """Answer, unless answers pile up already (RFC 6455, section 5.5.3)."""
        if self.transport.get_write_buffer_size() < HIGH_WATER_LIMIT:
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def send_receive_event_to_app(self) -> None:
        """Pass a message on, if its text is text: uvicorn would log a fault of its own."""
        if self.curr_msg_data_type == "text":
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.frames = []
                self._fail(INVALID_DATA, "not UTF-8")
                return
        super().send_receive_event_to_app()

    def _fail(self, code: int, reason: str) -> None:
        if not self.close_sent:
            self.conn.fail(code, reason)
            self.handle_parser_exception()
