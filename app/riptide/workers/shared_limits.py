"""The memory in which workers count together what the service's limits allow.

Its parts, one behind the other: a secret; three columns of numbers (connections, accepted
connections and streams of each slot); the buckets of rates, which all write; and for each slot the
counts of its clients' streams, in pages of its own.
"""

from __future__ import annotations

import mmap
import os
import secrets
import struct
from typing import NamedTuple

from riptide.admission import count_table
from riptide.admission.hashed_key import SECRET_BYTES
from riptide.admission.share import Share
from riptide.admission.time_table import TimeTable
from riptide.server.turns import Turns
from riptide.workers.shared_memory import make_shared_memory

NUMBER = struct.calcsize("Q")
COLUMNS = 3
# Buckets of rates: three limits with 10,000 clients each, as one process remembers them.
TIMES_BYTES = 2 * NUMBER * 32_768
# A stream is counted for an address and for an identity.
KEYS_A_STREAM = 2
# Of a table, which then has room for sure.
FILLED = 0.5
# However many streams are allowed, a process has no more. A table takes memory only where a number
# has been written.
MOST_STREAMS = 500_000


class Layout(NamedTuple):
    """Where the parts of the memory begin, and its size, in bytes."""

    columns: int
    times: int
    counts: int
    bytes_a_slot: int
    size: int


def layout(slots: int, max_connections: int) -> Layout:
    """Return the layout for so many workers and streams."""
    keys = KEYS_A_STREAM * min(max_connections, MOST_STREAMS) / FILLED
    a_slot = _pages(max(count_table.BUCKET, int(keys)) * NUMBER)
    times = _pages(SECRET_BYTES + COLUMNS * slots * NUMBER)
    counts = times + _pages(TIMES_BYTES)
    return Layout(SECRET_BYTES, times, counts, a_slot, counts + slots * a_slot)


class SharedLimits:
    """The memory as a worker and the supervisor use it."""

    def __init__(self, descriptor: int, slots: int, max_connections: int) -> None:
        self.descriptor = descriptor
        self._slots = slots
        self._layout = layout(slots, max_connections)
        self._memory = mmap.mmap(descriptor, self._layout.size)
        self._bytes = memoryview(self._memory)

    def share_of(self, slot: int) -> Share:
        """Return what the slot's worker counts together with the others."""
        begin, size = self._layout.counts, self._layout.bytes_a_slot
        counts = [
            self._bytes[begin + each * size : begin + (each + 1) * size].cast("Q")
            for each in range(self._slots)
        ]
        times = self._bytes[self._layout.times :][:TIMES_BYTES]
        secret = bytes(self._bytes[:SECRET_BYTES])
        return Share(slot, self._column(2), counts, TimeTable(times), secret)

    def turns_of(self, slot: int) -> Turns:
        """Return what the slot's worker accepts connections by."""
        return Turns(slot, self._column(0), self._column(1))

    def clear(self, slot: int) -> None:
        """Give back all that the slot's worker, which has ended, had taken."""
        if slot >= self._slots:  # a child that is no worker
            return
        for number in range(COLUMNS):
            self._column(number)[slot] = 0
        size = self._layout.bytes_a_slot
        begin = self._layout.counts + slot * size
        try:
            # On Linux: the pages are given back, and are zero.
            self._memory.madvise(mmap.MADV_REMOVE, begin, size)
        except (AttributeError, OSError):
            self._bytes[begin : begin + size] = bytes(size)

    def _column(self, number: int) -> memoryview:
        begin = self._layout.columns + number * self._slots * NUMBER
        return self._bytes[begin : begin + self._slots * NUMBER].cast("Q")


def make_shared_limits(slots: int, max_connections: int) -> SharedLimits:
    """Return limits of which nothing is taken. Processes that inherit the descriptor share them.

    Raises:
        StartError: the system gives no memory that can be shared.

    """
    descriptor = make_shared_memory(layout(slots, max_connections).size)
    os.pwrite(descriptor, secrets.token_bytes(SECRET_BYTES), 0)
    return SharedLimits(descriptor, slots, max_connections)


def _pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
