"""One worker's share in what all workers of a service count together."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from riptide.admission.count_table import CountTable
from riptide.admission.hashed_key import hashed_by

if TYPE_CHECKING:
    from collections.abc import Sequence

    from riptide.admission.time_table import TimeTable

logger = logging.getLogger("riptide.admission")


class Share:
    """What one worker shows the others of its clients, and sees of theirs.

    A worker writes the numbers of its own slot, and everybody reads all. The supervisor clears the
    slot of a worker that has ended, so what that worker had taken is free again.
    """

    def __init__(
        self,
        slot: int,
        streams: memoryview,
        counts: Sequence[memoryview],
        times: TimeTable,
        secret: bytes,
    ) -> None:
        self.workers = len(streams)
        self.times = times
        self.hashed = hashed_by(secret)
        self.slot = slot
        self._streams = streams
        tables = [CountTable(each) for each in counts]
        self._counts = tables.pop(slot)
        self._others = tables
        self._complained = False

    def show_streams(self, count: int) -> None:
        """Let the others know how many streams this worker has."""
        self._streams[self.slot] = count

    def streams(self) -> int:
        """Return how many streams all workers have."""
        return sum(self._streams.tolist())

    def show_places(self, key: str, count: int) -> None:
        """Let the others know how many places a key has in this worker."""
        if self._counts.put(self.hashed(key), count) or self._complained:
            return
        self._complained = True
        logger.warning(
            "this worker has more clients than fit into the memory that it shares with the others: "
            "for some of them, each worker counts streams for itself. Lower RIPTIDE_MAX_CONNECTIONS"
        )

    def places_elsewhere(self, key: str) -> int:
        """Return how many places a key has in the other workers."""
        hashed = self.hashed(key)
        return sum(each.get(hashed) for each in self._others)

    def part_of(self, limit: int) -> int:
        """Return this worker's part of a limit for all; the parts of all workers are the whole."""
        return limit // self.workers + (self.slot < limit % self.workers)
