"""How late the event loop is: the one number that tells that it is overworked."""

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
    """Sets a short timer again and again and notes how late it comes.

    ``tick`` is called every time, for what else has to be done now and then.
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
        """Watch until cancelled."""
        try:
            while True:
                due = self._due = self._clock() + INTERVAL_S
                await self._sleep(INTERVAL_S)
                self._delays.append(max(0.0, self._clock() - due))
                self._tick()
        finally:
            self._due = None

    def lag_seconds(self) -> float:
        """Return the largest delay of late, counting one that has not ended yet."""
        due = self._due
        pending = 0.0 if due is None else self._clock() - due
        return max(pending, *self._delays.copy())
