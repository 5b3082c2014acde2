"""One clock for all streams: heartbeats into silences, and an end for clients that take nothing."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from telemetry import CloseReason

if TYPE_CHECKING:
    from app.streaming.session import StreamSession
    from app.streaming.streams import Streams

# Sessions looked at before others get their turn.
SLICE = 500


class Heartbeat:
    """Looks at every session a few times in each interval; one task, no timer per stream."""

    def __init__(self, streams: Streams, *, interval_s: float, write_timeout_s: float) -> None:
        self._streams = streams
        self._interval_s = interval_s
        self._write_timeout_s = write_timeout_s

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            await asyncio.sleep(min(1.0, self._interval_s / 4, self._write_timeout_s / 4))
            for position, session in enumerate(list(self._streams.sessions), 1):
                self._look_at(session, time.monotonic())
                if not position % SLICE:
                    await asyncio.sleep(0)

    def _look_at(self, session: StreamSession, now: float) -> None:
        if session.blocked_since is not None:
            if now - session.blocked_since >= self._write_timeout_s:
                session.end(CloseReason.CLIENT_STALLED)
                session.connection.abort()
        elif now - session.last_write >= self._interval_s:
            session.beat()
