"""The lag of the event loop: how late its timers are when the loop is overloaded."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

INTERVAL_S = 0.1
MEMORY_S = 15.0


class EventLoopMonitor:
    """Sleeps for 0.1 s again and again, and measures how much longer each sleep takes.

    ``tick`` is called after each sleep, for periodic work of the application.
    """

    def __init__(
        self,
        tick: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._tick = tick
        self._clock = clock
        self._sleep = sleep
        self._delays: deque[float] = deque([0.0], maxlen=int(MEMORY_S / INTERVAL_S))
        self._due: float | None = None

    async def run(self) -> None:
        """Measure until cancelled."""
        try:
            while True:
                due = self._due = self._clock() + INTERVAL_S
                await self._sleep(INTERVAL_S)
                self._delays.append(max(0.0, self._clock() - due))
                self._tick()
        finally:
            self._due = None

    def lag_seconds(self) -> float:
        """Return the largest delay of the last 15 s, including one that has not ended yet."""
        due = self._due
        pending = 0.0 if due is None else self._clock() - due
        return max(pending, *self._delays.copy())
