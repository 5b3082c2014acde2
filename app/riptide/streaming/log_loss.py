"""Ends the streams of an instance that has lost its log, so that clients go on at another one."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from riptide.streaming.drain import pause_between
from riptide_telemetry import CloseReason

if TYPE_CHECKING:
    from riptide.storage.message_log import MessageLog
    from riptide.streaming.streams import Streams

logger = logging.getLogger("riptide.stream")

CHECK_INTERVAL_S = 1.0


class LogLoss:
    """Waits for a log that other instances may still reach.

    After ``limit_s`` seconds without it, streams are ended one by one, as in a drain of
    ``window_s`` seconds. The instance serves on, and takes streams again once it has its log.
    """

    def __init__(
        self, streams: Streams, log: MessageLog, *, limit_s: float, window_s: float
    ) -> None:
        self._streams = streams
        self._log = log
        self._limit_s = limit_s
        self._window_s = window_s

    async def run(self) -> None:
        """Look at the log again and again until cancelled."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            if self._is_lost():
                await self._end_all()

    def _is_lost(self) -> bool:
        return self._log.connection.lost_s > self._limit_s

    async def _end_all(self) -> None:
        # Also those that were opened since the last look. For those that end already, the first
        # reason stays.
        sessions = list(self._streams.sessions)
        if sessions:
            logger.warning(
                "ending %d streams: the log has been lost for %g s", len(sessions), self._limit_s
            )
        pause_s = pause_between(len(sessions), self._window_s)
        for session in sessions:
            if not self._is_lost():
                return
            session.end(
                CloseReason.LOG_FAILURE, "this instance has lost its log: resume at another one"
            )
            await asyncio.sleep(pause_s)
