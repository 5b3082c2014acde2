"""Lets messages that are being published go before work that can wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# An append takes about a millisecond, if the event loop and the reader leave the processor to it.
# While appends follow each other without a pause, the rest waits so long, and then has its time.
PATIENCE_S = 0.004
REST_S = 0.001


class RightOfWay:
    """Begins the work that can wait while no message is being published, or for a short time."""

    def __init__(self) -> None:
        self._publishes = 0
        self._work: list[Callable[[], None]] = []
        self._timer: asyncio.TimerHandle | None = None
        # On the event loop's clock: until then, work begins in any case.
        self._rest_ends = 0.0

    def take(self) -> None:
        """Hold up the rest for a message that is being published."""
        self._publishes += 1

    def give_back(self) -> None:
        """End what ``take`` began."""
        self._publishes -= 1
        if self._publishes == 0:
            self._begin()

    def call(self, work: Callable[[], None]) -> None:
        """Call a function that can wait, in a later turn of the event loop."""
        loop = asyncio.get_running_loop()
        if self._publishes == 0 or loop.time() < self._rest_ends:
            loop.call_soon(work)
            return
        self._work.append(work)
        if self._timer is None:
            self._timer = loop.call_later(PATIENCE_S, self._rest)

    def _rest(self) -> None:
        self._rest_ends = asyncio.get_running_loop().time() + REST_S
        self._begin()

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        work, self._work = self._work, []
        for each in work:
            asyncio.get_running_loop().call_soon(each)
