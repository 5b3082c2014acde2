"""A session that keeps the totals of its connection, for the span that tells of its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.streaming.session import StreamSession
from telemetry import ConnectionTotals

if TYPE_CHECKING:
    from app.hub.batch import Batch
    from app.hub.hub import Hub, Start
    from app.streaming.outlet import Outlet
    from telemetry import Lifecycle


class CountingSession(StreamSession):
    """Counts for each write of each consumer: so it is used only where connections are traced."""

    __slots__ = ("_dropped_before", "_sent_before", "_size_bytes")

    def __init__(self, outlet: Outlet, hub: Hub, lifecycle: Lifecycle, retry_s: float) -> None:
        super().__init__(outlet, hub, lifecycle, retry_s)
        # Of the streams before the one that runs; a WebSocket may carry several in turn.
        self._sent_before = 0
        self._dropped_before = 0
        self._size_bytes = 0

    def take(self, batch: Batch, now_ns: int) -> bool:
        """Write a live batch at once, and count its bytes."""
        taken = super().take(batch, now_ns)
        if taken:
            self._size_bytes += batch.size
        return taken

    async def _begin(self, start: Start) -> None:
        if start.subscription is not self._subscription:
            self._sent_before += self._subscription.sent
            self._dropped_before += self._subscription.dropped
        await super()._begin(start)

    async def _send(self, batch: Batch) -> None:
        sent = self._subscription.sent
        try:
            await super()._send(batch)
        finally:
            if self._outlet.direct and self._subscription.sent > sent:
                self._size_bytes += batch.size

    def _count(self, batch: Batch, start: int, end: int, size: int) -> None:
        super()._count(batch, start, end, size)
        if not self._outlet.direct:
            self._size_bytes += size

    def _totals(self) -> ConnectionTotals:
        return ConnectionTotals(
            self._sent_before + self._subscription.sent,
            self._dropped_before + self._subscription.dropped,
            self._size_bytes,
        )
