"""Follows one HTTP request, and records its response if the response is a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide_telemetry.labels import CloseReason
from riptide_telemetry.middleware.connection_record import ConnectionRecord
from riptide_telemetry.middleware.stream_recognition import recognise
from riptide_telemetry.middleware.suspension import begin
from riptide_telemetry.recording.guard import guarded, report_failure

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from riptide_telemetry.lifecycle import Lifecycle
    from riptide_telemetry.middleware.asgi_types import Message, Receive, Send
    from riptide_telemetry.middleware.stream_recognition import RecognisedStream

# A file instead of a body, or of a part of it (extensions of ASGI).
_FILES = {"http.response.pathsend", "http.response.zerocopysend"}


class HttpStream:
    """``receive`` and ``send`` for the application, which behave as those of the server do."""

    __slots__ = (
        "_chunked",
        "_gone",
        "_lifecycle",
        "_receive",
        "_record",
        "_send",
        "_stream",
    )

    def __init__(
        self, lifecycle: Lifecycle, receive: Receive, send: Send, *, chunked: bool
    ) -> None:
        self._lifecycle = lifecycle
        self._receive = receive
        self._send = send
        self._chunked = chunked
        self._stream: RecognisedStream | None = None
        self._record: ConnectionRecord | None = None
        self._gone = False

    def records_for(self, lifecycle: Lifecycle) -> bool:
        """Return whether this stream is recorded by a lifecycle."""
        return self._lifecycle is lifecycle

    def expect_chunked(self) -> None:
        """Record the response as well if it is of another type and has no content length."""
        self._chunked = True

    async def receive(self) -> Message:
        """Receive, and notice when the client has gone."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._gone = True
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """Send. What is not part of an open stream goes to the server directly."""
        if self._record is None and message["type"] == "http.response.start":
            message = _with_lasting_headers(message)
            self._begin(message)
        if self._record is None or not self._record.is_open:
            return self._send(message)
        return self._send_recorded(message, self._record)

    def end(self, reason: CloseReason | None) -> None:
        """Record the end. ``reason`` is None if the application has returned."""
        if self._record is None:
            return
        if self._gone:
            reason = CloseReason.CLIENT_CLOSED
        # The end of the body closes the record, so an application that returns before has failed.
        self._record.close(reason or CloseReason.INTERNAL_ERROR)

    async def _send_recorded(self, message: Message, record: ConnectionRecord) -> None:
        try:
            waiting = begin(self._send(message))
            if waiting is not None:
                more = message.get("more_body", False)
                await record.passed_on(waiting, more_to_come=more)
        except OSError:
            self._gone = True
            raise
        if not self._gone:
            try:
                self._sent(message, record)
            except Exception:  # noqa: BLE001  # as in guarded, which would cost another call
                report_failure("send")

    @guarded
    def _begin(self, start: Message) -> None:
        self._stream = recognise(start, chunked=self._chunked)
        if self._stream is not None:
            self._record = ConnectionRecord(self._lifecycle, self._stream.protocol)

    def _sent(self, message: Message, record: ConnectionRecord) -> None:
        if message["type"] == "http.response.body" and self._stream is not None:
            body = bytes(message.get("body", b""))
            count = self._stream.counter.feed(body)
            if message.get("more_body", False):
                record.sent(count, len(body))
                return
            record.sent(count + self._stream.counter.finish(), len(body))
            record.close(CloseReason.COMPLETED)
        elif message["type"] in _FILES and not message.get("more_body", False):
            # The server has sent the rest of the body by itself: its messages are not counted.
            record.close(CloseReason.COMPLETED)


def _with_lasting_headers(start: Message) -> Message:
    """Return the message, or a copy of it whose headers can be read twice.

    ASGI allows any iterable, so the headers, or one of them, may be an iterator. Reading it here
    would leave nothing of it to the server.
    """
    headers = start.get("headers") or ()
    if isinstance(headers, (list, tuple)) and all(isinstance(h, (list, tuple)) for h in headers):
        return start
    return {**start, "headers": [tuple(header) for header in headers]}
