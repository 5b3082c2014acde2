"""The metrics of all workers in memory that they share, so that each of them can answer for all.

Each worker keeps its last snapshot in a place of its own. The supervisor adds what a worker that
has ended leaves behind to one more place, the first.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
import zlib
from typing import TYPE_CHECKING

from riptide.workers.shared_memory import make_shared_memory
from riptide_telemetry import Snapshot, merged, remaining

if TYPE_CHECKING:
    from collections.abc import Callable

NUMBER = struct.Struct("Q")
# The largest snapshot, of 50 topic prefixes and with an exemplar in each bucket, takes less than
# half of it. Memory that is not written to is not taken from the machine.
CAPACITY = 256 * 1024
BUFFER_BYTES = 2 * NUMBER.size + CAPACITY
PLACE_BYTES = NUMBER.size + 2 * BUFFER_BYTES
# What is read changes ten times a second, or when a worker ends, and is read in less than a
# millisecond for each worker.
TRIES = 100


class Place:
    """One text at a time, which is replaced as a whole. One process writes, any may read.

    There are two buffers. The one that is not shown is written, then the version is raised, which
    shows it. A writer that is killed or stopped at any moment leaves the text before; no reader
    waits for it. The checksum tells a reader that was overtaken by two writes.
    """

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self._version = memory[: NUMBER.size].cast("Q")

    @property
    def version(self) -> int:
        """How often the place was written to."""
        return self._version[0]

    def write(self, text: bytes) -> None:
        """Replace the text.

        Raises:
            ValueError: it is too large.

        """
        if len(text) > CAPACITY:
            raise ValueError(f"{len(text)} bytes of metrics are more than {CAPACITY}")
        version = self.version + 1
        start = self._start(version)
        head = struct.pack("QQ", len(text), zlib.crc32(text))
        self._memory[start : start + len(head) + len(text)] = head + text
        self._version[0] = version

    def read(self) -> bytes:
        """Return the text; nothing if none was written yet.

        Raises:
            OSError: the memory is damaged.

        """
        for _ in range(TRIES):
            version = self.version
            if not version:
                return b""
            start = self._start(version)
            size, checksum = struct.unpack_from("QQ", self._memory, start)
            start += 2 * NUMBER.size
            text = bytes(self._memory[start : start + min(size, CAPACITY)])
            if len(text) == size and zlib.crc32(text) == checksum:
                return text
        raise OSError("the metrics that the workers share cannot be read")

    def _start(self, version: int) -> int:
        return NUMBER.size + version % 2 * BUFFER_BYTES


class MetricsMemory:
    """The places of all workers, and that of the workers that have ended.

    A worker's snapshot names its life, which is one more than that of the worker before it in its
    slot. The place of the ended names the last life of each slot that is in it. So the counts of a
    life are in the sum exactly once, whenever somebody is killed.
    """

    def __init__(self, descriptor: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.descriptor = descriptor
        self._clock = clock
        memory = memoryview(mmap.mmap(descriptor, os.fstat(descriptor).st_size))
        places = [
            Place(memory[start : start + PLACE_BYTES])
            for start in range(0, len(memory), PLACE_BYTES)
        ]
        self._ended, *self._slots = places

    def lives_ended(self, slot: int) -> int:
        """Return how many lives of the slot have ended and were counted."""
        return self._read_ended()[0][slot]

    def show(self, slot: int, life: int, snapshot: bytes) -> None:
        """Let everybody know the snapshot of the slot's worker.

        Raises:
            ValueError: it is too large.

        """
        self._slots[slot].write(NUMBER.pack(life) + snapshot)

    def end(self, slot: int) -> None:
        """Keep what the slot's worker has counted, which has ended. Only the supervisor may.

        Raises:
            ValueError: the counts are too large.
            OSError: the memory is damaged.

        """
        lives, ended = self._read_ended()
        life, last = _parted(self._slots[slot].read())
        if life <= lives[slot]:
            # It never showed any.
            return
        lives[slot] = life
        now = self._clock()
        ended = merged([remaining(ended, now), remaining(last, now)])
        self._ended.write(b"".join(map(NUMBER.pack, lives)) + ended.encode())

    def all(self) -> list[Snapshot]:
        """Return the snapshots of all workers that live, after what is left of the others.

        Raises:
            OSError: the memory is damaged.

        """
        for _ in range(TRIES):
            version = self._ended.version
            lives, ended = self._read_ended()
            texts = [place.read() for place in self._slots]
            # Otherwise a worker has ended meanwhile, and might be in neither or in both.
            if self._ended.version == version:
                shown = zip(lives, map(_parted, texts), strict=True)
                return [ended, *(snapshot for ended, (life, snapshot) in shown if life > ended)]
        raise OSError("workers end faster than their metrics can be read")

    def _read_ended(self) -> tuple[list[int], Snapshot]:
        text = self._ended.read()
        if not text:
            return [0] * len(self._slots), Snapshot()
        end = len(self._slots) * NUMBER.size
        lives = [life for (life,) in NUMBER.iter_unpack(text[:end])]
        return lives, Snapshot.decode(text[end:])


class WorkerMetrics:
    """One worker's part of the memory."""

    def __init__(self, memory: MetricsMemory, slot: int) -> None:
        self._memory = memory
        self._slot = slot
        self._life = memory.lives_ended(slot) + 1

    @property
    def is_successor(self) -> bool:
        """Whether the slot had a worker before this one."""
        return self._life > 1

    def show(self, snapshot: bytes) -> None:
        """Let everybody know this worker's snapshot."""
        self._memory.show(self._slot, self._life, snapshot)

    def all(self) -> list[Snapshot]:
        """Return what ended workers have left, and the snapshot of each worker that lives."""
        return self._memory.all()


def make_metrics_memory(slots: int) -> MetricsMemory:
    """Return empty memory for the metrics of so many workers.

    Raises:
        StartError: the system gives no memory that can be shared.

    """
    return MetricsMemory(make_shared_memory((1 + slots) * PLACE_BYTES))


def _parted(text: bytes) -> tuple[int, Snapshot]:
    """Return the life and the snapshot that a worker has shown; life 0 if it has shown none."""
    if not text:
        return 0, Snapshot()
    (life,) = NUMBER.unpack_from(text)
    return life, Snapshot.decode(text[NUMBER.size :])
