"""Turns of the event loop, so that many consumers that catch up do not hold up everything else."""

from __future__ import annotations

import asyncio

from riptide.hub.fair_queue import FairQueue


class Turns:
    """Lets one task at a time go on, and all other work of the event loop come in between.

    One read may serve thousands of consumers. If all of them encoded and wrote what they got in one
    turn of the event loop, live messages and new connections would wait for the last of them.
    """

    def __init__(self) -> None:
        self._waiting: FairQueue[asyncio.Future[None]] = FairQueue()
        self._scheduled = False

    async def take(self, topic: str, *, short: bool) -> None:
        """Wait for a turn; ``short``: the task will soon have nothing left to do."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.put(turn, topic, short=short)
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._give)
        await turn

    def _give(self) -> None:
        self._scheduled = False
        while self._waiting and not self._scheduled:
            turn = self._waiting.get()
            # A task that was cancelled leaves its turn to the next one.
            if not turn.done():
                turn.set_result(None)
                self._scheduled = True
                asyncio.get_running_loop().call_soon(self._give)
