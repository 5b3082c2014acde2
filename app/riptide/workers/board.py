"""What the workers and their supervisor know of each other, in memory that they share."""

from __future__ import annotations

import mmap
import os
import struct

from riptide.workers.shared_memory import make_shared_memory

NUMBER = struct.calcsize("Q")
# The numbers of a slot: the port of its worker's metrics (0 if no worker serves), and how often
# the worker has given a sign of life.
NUMBERS_A_SLOT = 2


class Board:
    """Two numbers for each slot. A worker writes those of its own slot, and everybody reads all.

    The supervisor clears a slot when its worker has ended. A number is copied in one piece, so
    nobody reads half of one.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        memory = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
        self._numbers = memoryview(memory).cast("Q")

    def show_port(self, slot: int, port: int) -> None:
        """Let everybody know on which port the slot's worker has its metrics."""
        self._numbers[slot * NUMBERS_A_SLOT] = port

    def beat(self, slot: int) -> None:
        """Give a sign of life."""
        self._numbers[slot * NUMBERS_A_SLOT + 1] += 1

    def beats(self, slot: int) -> int:
        """Return how many signs of life the slot's worker has given."""
        return self._numbers[slot * NUMBERS_A_SLOT + 1]

    def clear(self, slot: int) -> None:
        """Forget the slot's worker, which has ended."""
        for number in range(slot * NUMBERS_A_SLOT, (slot + 1) * NUMBERS_A_SLOT):
            self._numbers[number] = 0

    def ports(self) -> dict[int, int]:
        """Return the ports of metrics of the workers that serve, by slot."""
        ports = enumerate(self._numbers[::NUMBERS_A_SLOT])
        return {slot: port for slot, port in ports if port}


def make_board(slots: int) -> Board:
    """Return an empty board. Processes that inherit its descriptor share it.

    Raises:
        StartError: the system gives no memory that can be shared.

    """
    return Board(make_shared_memory(slots * NUMBERS_A_SLOT * NUMBER))
