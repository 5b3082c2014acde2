"""The drain: a shutdown that ends streams one by one, so that clients do not return at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

from riptide.process.faults import Faults
from riptide_telemetry import CloseReason, ServicePart

if TYPE_CHECKING:
    from riptide.streaming.session import StreamSession
    from riptide.streaming.streams import Streams

logger = logging.getLogger("riptide.drain")

# Time between the ends of two streams, so that clients do not reconnect all at once.
CLOSE_SPACING_S = 0.01
# All streams are ended within this share of the window, closer together if need be. Slow clients
# have the rest of the window to take their last record.
SPREAD_SHARE = 0.8
# After the window, streams that were cut off have this long to record their end.
ABORT_GRACE_S = 0.5


def pause_between(stream_count: int, window_s: float) -> float:
    """Return the seconds between the ends of two of so many streams, to end all in a window."""
    return min(CLOSE_SPACING_S, SPREAD_SHARE * window_s / max(1, stream_count))


class Drain:
    """Begins at the signal: refuses new streams, and ends open ones with a last record."""

    def __init__(self, streams: Streams, window_s: float, faults: Faults | None = None) -> None:
        self._streams = streams
        self._faults = faults or Faults()
        self._window_s = window_s
        self._task: asyncio.Task[None] | None = None
        self._is_cut_short = False
        self._window: asyncio.Timeout | None = None

    @property
    def begun(self) -> bool:
        """Whether the service is shutting down."""
        return self._streams.draining

    def begin(self) -> asyncio.Task[None]:
        """Begin to drain, unless the drain has begun; return the task of the drain."""
        if self._task is None:
            self._streams.draining = True
            self._task = asyncio.create_task(self._drain())
        return self._task

    async def run(self) -> None:
        """Drain until no stream is left or the window is over; later calls wait for the first."""
        await asyncio.shield(self.begin())

    def cut_short(self) -> None:
        """End the window now: streams that are left are cut off."""
        self._is_cut_short = True
        if self._window is not None:
            self._window.reschedule(asyncio.get_running_loop().time())

    async def _drain(self) -> None:
        try:
            await self._end_all()
        except Exception as error:  # noqa: BLE001  # whoever waits for the drain goes on to the end
            self._faults.report(ServicePart.DRAIN, error)

    async def _end_all(self) -> None:
        deadline = time.monotonic() + self._window_s
        sessions = list(self._streams.sessions)
        logger.info("draining %d streams within %g s", len(sessions), self._window_s)
        pause = pause_between(len(sessions), self._window_s)
        for session in sessions:
            self._end(session)
            await asyncio.sleep(0 if self._is_cut_short else pause)
        left_s = 0.0 if self._is_cut_short else max(0.0, deadline - time.monotonic())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left_s) as self._window:
                await self._streams.wait_until_empty()
        self._window = None
        if self._streams.sessions:
            logger.warning("cutting off %d streams", len(self._streams.sessions))
            for session in list(self._streams.sessions):
                self._end(session, abort=True)
            await asyncio.sleep(ABORT_GRACE_S)
        logger.info("drained")

    def _end(self, session: StreamSession, *, abort: bool = False) -> None:
        try:
            session.end(CloseReason.DRAINING)
            if abort:
                session.connection.abort()
        except Exception as error:  # noqa: BLE001  # the other sessions still have to be ended
            self._faults.report(ServicePart.DRAIN, error)
