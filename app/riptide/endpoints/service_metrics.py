"""The metrics of the service when several workers share its port: whichever answers, for all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from riptide_telemetry import Exposition, Snapshot, Telemetry

# What a worker has counted in so long before it is killed is lost, and how old the numbers of the
# other workers may be in an answer.
SHARE_INTERVAL_S = 0.1
# Some gauges ask every consumer or the disk, so that they are read less often.
GAUGES_INTERVAL_S = 1.0


class SharedSnapshots(Protocol):
    """Where the workers' snapshots are, this one's among them."""

    @property
    def is_successor(self) -> bool:
        """Whether this worker replaces another one, whose counts are there."""

    def show(self, snapshot: bytes) -> None:
        """Let the other workers know this worker's snapshot."""

    def all(self) -> Iterable[Snapshot]:
        """Return the snapshots of all workers."""


class ServiceMetrics:
    """Shares this worker's numbers with the others, and shows those of all.

    Only what has been shared is shown, this worker's own numbers included. So no counter falls
    when a worker is killed right after it has answered.
    """

    def __init__(self, telemetry: Telemetry, shared: SharedSnapshots) -> None:
        self._snapshots = telemetry.snapshots
        self._shared = shared
        self._exposition = telemetry.merged(shared.all)
        self._begun = False

    async def begin(self) -> None:
        """Share the first snapshot, before the worker serves."""
        if self._shared.is_successor:
            # A successor counts the fault that has ended the worker before it.
            self._snapshots.leave_out_earlier_faults()
        await asyncio.to_thread(self._snapshots.read_gauges)
        self.share()
        self._begun = True

    def end(self) -> None:
        """Share the last snapshot, after everything has ended that counts."""
        # A start that has failed has nothing to share.
        if self._begun:
            self.share()

    async def run(self) -> None:
        """Share snapshots until cancelled."""
        # Apart, because a disk that hangs may hold the gauges up.
        await asyncio.gather(self._share_regularly(), self._read_gauges_regularly())

    def share(self) -> None:
        """Share a snapshot of this moment."""
        self._shared.show(self._snapshots.take())

    def up_to_date(self) -> Exposition:
        """Return the exposition of all workers, with this one's counts as they are now."""
        self.share()
        return self._exposition

    async def _share_regularly(self) -> None:
        while True:
            await asyncio.sleep(SHARE_INTERVAL_S)
            self.share()

    async def _read_gauges_regularly(self) -> None:
        while True:
            await asyncio.sleep(GAUGES_INTERVAL_S)
            await asyncio.to_thread(self._snapshots.read_gauges)
