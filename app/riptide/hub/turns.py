"""Turns of the event loop, so that many consumers that catch up do not hold up everything else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from riptide.hub.fair_queue import FairQueue

if TYPE_CHECKING:
    from collections.abc import Callable


class Turns:
    """Lets one task at a time go on, and all other work of the event loop come in between.

    One read may serve thousands of consumers. If all of them encoded and wrote what they got in one
    turn of the event loop, live messages and new connections would wait for the last of them.
    """

    def __init__(self, call: Callable[[Callable[[], None]], object] | None = None) -> None:
        """``call`` calls a function in a later turn of the event loop; by default in the next."""
        self._call = call
        self._waiting: FairQueue[asyncio.Future[None]] = FairQueue()
        self._scheduled = False

    def take(self, topic: str, *, short: bool) -> asyncio.Future[None]:
        """Return what to await for a turn; ``short``: the task will soon have nothing to do."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put(turn, topic, short=short)
        self._schedule()
        return turn

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            call = self._call or asyncio.get_running_loop().call_soon
            call(self._give)

    def _give(self) -> None:
        self._scheduled = False
        while self._waiting and not self._scheduled:
            turn = self._waiting.get()
            # A task that was cancelled leaves its turn to the next one.
            if not turn.done():
                turn.set_result(None)
                self._schedule()
