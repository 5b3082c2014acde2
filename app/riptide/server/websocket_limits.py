"""Limits on the frames of a WebSocket client, beside the size of its messages.

A hello is one short frame. uvicorn's protocol limits the size of a message, but would keep any
number of empty fragments, buffer the answers to any number of pings for a client that reads none,
and serve no other client while small frames arrive as fast as they can be sent.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode

MAX_FRAGMENTS = 64
# Hellos, pings and pongs together. Clients have a reason to send one now and then.
MAX_FRAMES_A_SECOND = 200
# Bytes parsed in one turn of the event loop: up to 700 frames, because the smallest has 6 bytes.
PIECE_BYTES = 4 * 1024
TOO_BIG, INVALID_DATA, POLICY_VIOLATION = 1009, 1007, 1008


class LimitedWebSocketProtocol(WebSocketsSansIOProtocol):
    """WebSocket within limits. A client over one gets a close frame that says which."""

    # Slots for the same reason as in ``LimitedHttpProtocol``.
    __slots__ = ("_frames_until", "_recent_frames", "_unparsed")

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        # Frames in the current second, and when this second ends by the clock of the event loop.
        self._recent_frames = 0
        self._frames_until = 0.0
        self._unparsed = b""

    def data_received(self, data: bytes) -> None:
        """Parse the bytes received, a piece per turn of the event loop; pause reading meanwhile."""
        if self._unparsed:
            self._unparsed += data
            self.transport.pause_reading()
        elif self.handshake_initiated and len(data) > PIECE_BYTES:
            self._unparsed = data
            self.transport.pause_reading()
            self._parse_piece()
        else:
            super().data_received(data)

    def _parse_piece(self) -> None:
        if self.transport.is_closing():
            self._unparsed = b""
            return
        piece, self._unparsed = self._unparsed[:PIECE_BYTES], self._unparsed[PIECE_BYTES:]
        super().data_received(piece)
        if self._unparsed:
            self.loop.call_soon(self._parse_piece)
        elif not (self.read_paused or self.transport.is_closing()):
            self.transport.resume_reading()

    async def receive(self) -> Any:
        """Return the next message."""
        message = await super().receive()
        if self._unparsed:
            # uvicorn may have resumed reading.
            self.transport.pause_reading()
        return message

    def handle_events(self) -> None:
        """Handle the parsed frames, unless the client has sent too many in this second."""
        now = self.loop.time()
        if now >= self._frames_until:
            self._frames_until = now + 1
            self._recent_frames = 0
        self._recent_frames += sum(
            isinstance(event, Frame) and event.opcode is not Opcode.CONT
            for event in self.conn.events
        )
        if self._recent_frames > MAX_FRAMES_A_SECOND:
            self._fail(POLICY_VIOLATION, f"more than {MAX_FRAMES_A_SECOND} frames in a second")
        else:
            super().handle_events()

    def handle_cont(self, event: Frame) -> None:
        """Take a fragment of a message, unless the message has too many."""
        if len(self.frames) >= MAX_FRAGMENTS:
            self._fail(TOO_BIG, f"more than {MAX_FRAGMENTS} fragments")
            return
        super().handle_cont(event)

    def handle_ping(self) -> None:
        """Answer a ping, unless unread answers fill the write buffer (RFC 6455, section 5.5.3)."""
        if self.transport.get_write_buffer_size() < HIGH_WATER_LIMIT:
            super().handle_ping()
        else:
            # This drops the answer.
            self.conn.data_to_send()

    def send_receive_event_to_app(self) -> None:
        """Pass a message on, if its text is UTF-8; uvicorn would log an error of the server."""
        if self.curr_msg_data_type == "text":
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.frames = []
                self._fail(INVALID_DATA, "not UTF-8")
                return
        super().send_receive_event_to_app()

    def handle_parser_exception(self) -> None:
        """End the connection with the close frame that says what was wrong."""
        if self.conn.close_sent is None:
            # There is no close frame before the handshake has been answered.
            self.transport.close()
        else:
            super().handle_parser_exception()

    def _fail(self, code: int, reason: str) -> None:
        if self.close_sent:
            self.transport.close()
        else:
            self.conn.fail(code, reason)
            self.handle_parser_exception()
