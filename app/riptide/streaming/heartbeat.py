"""Rounds over all streams: heartbeats, write buffers, lags, expired and stalled clients."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from riptide.process.faults import Faults
from riptide.streaming.lag_survey import LagSurvey
from riptide.streaming.patience import NANOSECONDS, Patience
from riptide_telemetry import CloseReason, ServicePart

if TYPE_CHECKING:
    from riptide.streaming.session import StreamSession
    from riptide.streaming.streams import Streams

# Sessions visited before other tasks get a turn of the event loop.
SLICE = 500


class Heartbeat:
    """Visits every session a few times per interval, in one task instead of a timer per stream.

    A round reads a session's write buffer only if something was written since the last round, or
    the buffer was not empty then: that of an idle stream is empty.
    """

    def __init__(
        self,
        streams: Streams,
        *,
        interval_s: float,
        write_timeout_s: float,
        faults: Faults | None = None,
    ) -> None:
        self._streams = streams
        self._faults = faults or Faults()
        self._interval_ns = interval_s * NANOSECONDS
        self._patience = Patience(write_timeout_s)
        self._pause_s = min(1.0, interval_s / 4, write_timeout_s / 4)
        self._last_round_ns = 0
        self._holding: set[StreamSession] = set()

    async def run(self) -> None:
        """Go round after round until cancelled."""
        while True:
            await asyncio.sleep(self._pause_s)
            await self._go_round()

    async def _go_round(self) -> None:
        began_ns, held_before = time.monotonic_ns(), self._holding
        self._holding, total, lags = set(), 0, LagSurvey()
        self._patience.begin_round()
        for position, session in enumerate(list(self._streams.sessions), 1):
            try:
                self._visit(session, time.monotonic_ns())
                total += self._buffered(session, held_before)
                lag_ns = session.lag_ns()
                if lag_ns:
                    lags.note(lag_ns)
            except Exception as error:  # noqa: BLE001  # the other sessions still have to be visited
                self._faults.report(ServicePart.HEARTBEAT, error)
            if not position % SLICE:
                await asyncio.sleep(0)
        lags.close()
        self._streams.buffered_bytes, self._streams.lags = total, lags
        self._last_round_ns = began_ns

    def _buffered(self, session: StreamSession, held_before: set[StreamSession]) -> int:
        """Return the bytes in the session's write buffer, and note that it holds some."""
        if (
            session.writer.last_write_ns < self._last_round_ns
            and session.writer.blocked_since_ns is None
            and session not in held_before
        ):
            return 0
        buffered = session.connection.buffered_bytes()
        if buffered:
            self._holding.add(session)
        return buffered

    def _visit(self, session: StreamSession, now_ns: int) -> None:
        if session.expires_at <= time.time():
            session.end(CloseReason.TOKEN_EXPIRED)
        if session.writer.blocked_since_ns is not None:
            if self._patience.is_over(session.connection, now_ns, session.writer.blocked_since_ns):
                session.end(CloseReason.CLIENT_STALLED)
                session.connection.abort()
        elif now_ns - session.writer.last_write_ns >= self._interval_ns:
            session.beat()
