"""Reads from the log, shared by the consumers of all topics that catch up."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

from riptide.hub.chunk import Chunk
from riptide.hub.fair_queue import FairQueue
from riptide.hub.turns import Turns

if TYPE_CHECKING:
    from riptide.hub.right_of_way import RightOfWay
    from riptide.storage.message_log import MessageLog

# Reads that the log has to do at once. A read that is asked for now has to wait for these.
READS_AT_ONCE = 1
# What was read stays in memory for other consumers, for so long and up to so many bytes. Consumers
# that began together stay within seconds of each other.
KEPT_S = 15.0
KEPT_BYTES = 64 * 1024 * 1024


class Place(NamedTuple):
    """The place after a message of a topic."""

    topic: str
    after: int


class _Read:
    """A read that waits or is under way, and the number of consumers that wait for it."""

    __slots__ = ("begun", "done", "place", "waiter_count")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.begun = False
        self.waiter_count = 0
        self.done: asyncio.Future[Chunk | None] = asyncio.get_running_loop().create_future()


class _Kept(NamedTuple):
    """A chunk that was read, and when it is given up."""

    chunk: Chunk
    until_s: float


class LogReads:
    """Reads each place of the log once for all consumers that need it at about the same time.

    The consumers of one topic do not wait for all those of another (``FairQueue``).
    """

    def __init__(self, log: MessageLog, right_of_way: RightOfWay) -> None:
        self._log = log
        self._right_of_way = right_of_way
        self.turns = Turns(right_of_way.call)
        """The turns of consumers to which something was read."""
        self._waiting: FairQueue[_Read] = FairQueue()
        self._reads: dict[Place, _Read] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        # In the order in which they were read.
        self._kept: dict[Place, _Kept] = {}
        self._sweep: asyncio.TimerHandle | None = None

    async def read(self, topic: str, after: int, *, short: bool) -> Chunk | None:
        """Return what follows a place, None if nothing does.

        ``short`` says that the consumer will soon need nothing more.

        Raises:
            LogUnavailableError: the log cannot be read.

        """
        place = Place(topic, after)
        while True:
            kept = self._kept.get(place)
            if kept is not None and time.monotonic() < kept.until_s:
                return kept.chunk
            read = self._reads.get(place) or self._add(place, short=short)
            # What is not there now may have come after a read had begun.
            early = read.begun
            chunk = await self._wait_for(read)
            if chunk is not None or not early:
                return chunk

    def memory_bytes(self) -> int:
        """Return the bytes of what was read and is kept. Any thread may call this."""
        return sum(kept.chunk.held_bytes for kept in list(self._kept.values()))

    def _add(self, place: Place, *, short: bool) -> _Read:
        read = self._reads[place] = _Read(place)
        self._waiting.put(read, place.topic, short=short)
        # Begun in a later turn of the event loop, when all who want to read now are known.
        self._right_of_way.call(self._begin_reads)
        return read

    async def _wait_for(self, read: _Read) -> Chunk | None:
        read.waiter_count += 1
        try:
            return await asyncio.shield(read.done)
        finally:
            read.waiter_count -= 1

    def _begin_reads(self) -> None:
        while self._waiting and len(self._under_way) < READS_AT_ONCE:
            read = self._waiting.get()
            if read.waiter_count == 0:
                # All who wanted it have left.
                del self._reads[read.place]
                continue
            read.begun = True
            task = asyncio.create_task(self._carry_out(read))
            self._under_way.add(task)
            task.add_done_callback(self._end_read)

    def _end_read(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._right_of_way.call(self._begin_reads)

    async def _carry_out(self, read: _Read) -> None:
        try:
            messages = await self._log.read(*read.place)
        except asyncio.CancelledError:
            read.done.cancel()
            raise
        except Exception as error:  # noqa: BLE001  # it is an error of those who wait
            read.done.set_exception(error)
        else:
            chunk = Chunk(messages) if messages else None
            if chunk is not None:
                self._keep(read.place, chunk)
            read.done.set_result(chunk)
        finally:
            del self._reads[read.place]

    def _keep(self, place: Place, chunk: Chunk) -> None:
        self._kept.pop(place, None)
        self._kept[place] = _Kept(chunk, time.monotonic() + KEPT_S)
        size = self.memory_bytes()
        while size > KEPT_BYTES:
            size -= self._kept.pop(next(iter(self._kept))).chunk.held_bytes
        if self._sweep is None:
            self._sweep_after(KEPT_S)

    def _sweep_after(self, delay_s: float) -> None:
        self._sweep = asyncio.get_running_loop().call_later(delay_s, self._give_up_old)

    def _give_up_old(self) -> None:
        self._sweep = None
        now = time.monotonic()
        while self._kept:
            place, kept = next(iter(self._kept.items()))
            if kept.until_s > now:
                self._sweep_after(kept.until_s - now)
                return
            del self._kept[place]
