"""A log whose answers the test holds back: as slow, and as early, as a log on a disk may be."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from riptide.errors import LogUnavailableError
from riptide.storage.memory import MemoryLog

if TYPE_CHECKING:
    from riptide.message import Message, Receipt
    from riptide.publication import Publication
    from riptide.storage.message_log import Bounds, Feed, ListedTopic, Retention


class HeldLog(MemoryLog):
    """Commits at once, like a writer thread; the event loop hears of it when the test says so.

    While ``holding`` is set, what was read is handed over on ``let_read`` only.
    """

    def __init__(self, retention: Retention) -> None:
        super().__init__(retention)
        self.unacknowledged: list[tuple[asyncio.Future[Receipt], Publication, Receipt]] = []
        self.holding = False
        self.broken = False
        self._gates: list[asyncio.Future[None]] = []

    def append(self, publication: Publication) -> asyncio.Future[Receipt]:
        """Keep the payloads; the future is done by ``acknowledge``."""
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self.unacknowledged.append((future, publication, self._keep(publication)))
        return future

    def acknowledge(self, count: int | None = None) -> None:
        """Tell publishers of so many commits (default: all), in order."""
        told, self.unacknowledged = (
            self.unacknowledged[:count],
            self.unacknowledged[count:] if count is not None else [],
        )
        for future, publication, receipt in told:
            future.get_loop().call_soon(self._answer, publication, future, receipt)

    def refuse(self) -> None:
        """Fail all appends that wait."""
        for future, _, _ in self.unacknowledged:
            future.set_exception(LogUnavailableError("the disk is full"))
        self.unacknowledged = []

    async def follow(self, topic: str, feed: Feed) -> ListedTopic:
        """Look at once, answer when let."""
        # By ``bounds``, which looks and waits.
        return await super().follow(topic, feed)

    async def bounds(self, topic: str) -> Bounds:
        """Look at once, answer when let."""
        self._check()
        bounds = await super().bounds(topic)
        await self._pass()
        return bounds

    async def read(self, topic: str, after: int) -> list[Message]:
        """Look at once, answer when let."""
        self._check()
        messages = await super().read(topic, after)
        await self._pass()
        return messages

    def let_read(self) -> None:
        """Hand over what was read so far."""
        for gate in self._gates:
            if not gate.done():
                gate.set_result(None)
        self._gates.clear()

    def _check(self) -> None:
        if self.broken:
            raise LogUnavailableError("the log cannot be read")

    async def _pass(self) -> None:
        if self.holding:
            gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._gates.append(gate)
            await gate
