"""Follows one WebSocket, and records it from the moment it is accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide_telemetry.labels import CloseReason, StreamProtocol
from riptide_telemetry.middleware.connection_record import ConnectionRecord
from riptide_telemetry.middleware.suspension import begin
from riptide_telemetry.recording.guard import guarded, report_failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from typing import Any

    from riptide_telemetry.lifecycle import Lifecycle
    from riptide_telemetry.middleware.asgi_types import Message, Receive, Send

_NORMAL_CLOSURE = 1000
_NO_STATUS = 1005
_ABNORMAL_CLOSURE = 1006
_INTERNAL_ERROR = 1011
_SERVICE_RESTART = 1012

# The reason for which an application closes with a code. Any other code, such as one of its own, is
# an intended end. So is 1008: frameworks refuse credentials with it, and that is no stall.
_CLOSED_BY_APPLICATION = {
    1001: CloseReason.DRAINING,
    1003: CloseReason.UNSUPPORTED_FRAME,
    1007: CloseReason.INVALID_FRAME,
    1009: CloseReason.FRAME_TOO_LARGE,
    _INTERNAL_ERROR: CloseReason.INTERNAL_ERROR,
    _SERVICE_RESTART: CloseReason.DRAINING,
    1013: CloseReason.SLOW_CONSUMER,
}


class WebSocketStream:
    """``receive`` and ``send`` for the application, which behave as those of the server do."""

    __slots__ = ("_gone", "_lifecycle", "_receive", "_record", "_send")

    def __init__(self, lifecycle: Lifecycle, receive: Receive, send: Send) -> None:
        self._lifecycle = lifecycle
        self._receive = receive
        self._send = send
        self._record: ConnectionRecord | None = None
        self._gone: CloseReason | None = None

    def records_for(self, lifecycle: Lifecycle) -> bool:
        """Return whether this stream is recorded by a lifecycle."""
        return self._lifecycle is lifecycle

    async def receive(self) -> Message:
        """Receive, counting messages, and notice when and how the client has gone."""
        message = await self._receive()
        if self._record is not None:
            self._received(message, self._record)
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """Send, and record what is sent from the acceptance to the close."""
        if self._record is None and message["type"] == "websocket.accept":
            self._begin()
        if self._record is None or not self._record.is_open:
            return self._send(message)
        return self._send_recorded(message, self._record)

    def end(self, reason: CloseReason | None) -> None:
        """Record the end. ``reason`` is None if the application has returned."""
        if self._record is not None:
            self._record.close(self._gone or reason or CloseReason.COMPLETED)

    async def _send_recorded(self, message: Message, record: ConnectionRecord) -> None:
        try:
            waiting = begin(self._send(message))
            if waiting is not None:
                more = message["type"] == "websocket.send"
                await record.passed_on(waiting, more_to_come=more)
        except OSError:
            # A disconnect that is received later may name another reason.
            self._gone = self._gone or CloseReason.CLIENT_CLOSED
            raise
        if self._gone is None:
            try:
                self._sent(message, record)
            except Exception:  # noqa: BLE001  # as in guarded, which would cost another call
                report_failure("send")

    @guarded
    def _begin(self) -> None:
        self._record = ConnectionRecord(self._lifecycle, StreamProtocol.WEBSOCKET)

    @guarded
    def _received(self, message: Message, record: ConnectionRecord) -> None:
        if message["type"] == "websocket.receive":
            record.received()
        elif message["type"] == "websocket.disconnect":
            self._gone = _reason_of(message)

    def _sent(self, message: Message, record: ConnectionRecord) -> None:
        if message["type"] == "websocket.send":
            record.sent(1, _size_bytes(message))
        elif message["type"] == "websocket.close":
            code = message.get("code", _NORMAL_CLOSURE)
            record.close(_CLOSED_BY_APPLICATION.get(code, CloseReason.COMPLETED))


def _reason_of(disconnect: Mapping[str, Any]) -> CloseReason:
    code = disconnect.get("code", _NO_STATUS)
    if code == _SERVICE_RESTART:
        # The server itself closes with this code when it shuts down.
        return CloseReason.DRAINING
    if code == _ABNORMAL_CLOSURE or (code == _NO_STATUS and "reason" not in disconnect):
        # There was no close frame: uvicorn says 1005 then, and gives a reason only with a frame.
        return CloseReason.CLIENT_VANISHED
    return CloseReason.CLIENT_CLOSED


def _size_bytes(message: Mapping[str, Any]) -> int:
    data = message.get("bytes")
    if data is not None:
        # The length of a ``memoryview`` counts items, which may have several bytes each.
        return data.nbytes if isinstance(data, memoryview) else len(data)
    text: str = message.get("text") or ""
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
