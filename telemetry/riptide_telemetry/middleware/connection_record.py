"""Reports one connection, of an application that knows nothing of telemetry, to a lifecycle."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from riptide_telemetry.batch import MessageBatch
from riptide_telemetry.labels import Source, StreamOutcome
from riptide_telemetry.middleware.suspension import let_others_run
from riptide_telemetry.recording.guard import guarded, report_failure

if TYPE_CHECKING:
    from riptide_telemetry.labels import CloseReason, ErrorType, StreamProtocol
    from riptide_telemetry.lifecycle import Lifecycle
    from riptide_telemetry.middleware.suspension import Suspension

_numbers = itertools.count(1)


class ConnectionRecord:
    """One connection that carries one stream, opened and closed exactly once.

    It is unknown when a message was accepted, so no delivery latency is recorded: none is better
    than a false one. A failure of telemetry is logged and never raised.
    """

    __slots__ = ("_batch", "_id", "_lifecycle", "_open")

    def __init__(self, lifecycle: Lifecycle, protocol: StreamProtocol) -> None:
        self._lifecycle = lifecycle
        self._id = f"asgi-{next(_numbers)}"
        self._open = True
        # One batch for all writes: a new one for each would cost more than the rest of ``sent``.
        self._batch = MessageBatch(0, 0)
        self._establish(protocol)
        self._start_stream()

    def sent(self, count: int, size_bytes: int) -> None:
        """Record messages that were handed to the transport.

        Bytes that complete no message are recorded with the next one: half of an event is not yet
        the first message, and neither is a heartbeat.
        """
        batch = self._batch
        batch.size_bytes += size_bytes
        if not count:
            return
        batch.count = count
        try:
            self._lifecycle.items_sent(self._id, batch, Source.LIVE)
        except Exception:  # noqa: BLE001  # as in guarded, which would cost another call
            report_failure("sent")
        batch.size_bytes = 0

    async def passed_on(self, sending: Suspension[None], *, more_to_come: bool) -> None:
        """Wait for a send to end, and record it if it had to wait for the client."""
        try:
            await sending
        finally:
            waited = sending.seconds()
            if waited is not None:
                self.blocked(waited)
        if waited is not None and more_to_come:
            # The end of the connection may have ended the wait. uvicorn's ``send`` then returns as
            # after a success, and only ``receive`` reports the end: let the receiver run first.
            # After the last message ``receive`` reports an end in any case, which proves nothing.
            await let_others_run()

    @guarded
    def received(self) -> None:
        """Record a message from the client."""
        self._lifecycle.item_received(self._id)

    @guarded
    def blocked(self, seconds: float) -> None:
        """Record a send that had to wait for so many seconds."""
        self._lifecycle.write_stalled(self._id)
        self._lifecycle.write_blocked(self._id, seconds)

    def close(self, reason: CloseReason) -> None:
        """Record the end. Later calls do nothing."""
        if not self._open:
            return
        self._open = False
        if reason.outcome is StreamOutcome.COMPLETED:
            self._complete_stream()
        elif reason.error_type is not None:
            self._fail_stream(reason, reason.error_type)
        self._close(reason)

    @property
    def is_open(self) -> bool:
        """Whether the end was not recorded yet."""
        return self._open

    @guarded
    def _establish(self, protocol: StreamProtocol) -> None:
        self._lifecycle.connection_established(self._id, protocol)

    @guarded
    def _start_stream(self) -> None:
        self._lifecycle.stream_started(self._id, self._id, None)

    @guarded
    def _complete_stream(self) -> None:
        self._lifecycle.stream_completed(self._id, self._id)

    @guarded
    def _fail_stream(self, reason: CloseReason, error: ErrorType) -> None:
        self._lifecycle.stream_error(self._id, error, recoverable=False, detail=reason.meaning)

    @guarded
    def _close(self, reason: CloseReason) -> None:
        self._lifecycle.connection_closed(self._id, reason)
