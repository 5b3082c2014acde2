"""How late the event loop is: the one number that tells that it is overworked."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

INTERVAL_S = 0.1
MEMORY_S = 15.0


class EventLoopMonitor:
    """Sets a short timer again and again and notes how late it comes.

    ``tick`` is called every time, for what else has to be done now and then.
    """

    def __init__(self, tick: Callable[[], None] = lambda: None) -> None:
        self._tick = tick
        self._delays: deque[float] = deque([0.0], maxlen=int(MEMORY_S / INTERVAL_S))
        self._due: float | None = None

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            self._due = time.monotonic() + INTERVAL_S
            await asyncio.sleep(INTERVAL_S)
            self._delays.append(max(0.0, time.monotonic() - self._due))
            self._tick()

    def lag_seconds(self) -> float:
        """Return the largest delay of late, counting one that has not ended yet."""
        pending = 0.0 if self._due is None else time.monotonic() - self._due
        return max(pending, *self._delays.copy())
