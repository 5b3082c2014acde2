"""Gives memory that was freed, but is kept by the C library's allocator, back to the system."""

from __future__ import annotations

import asyncio
import ctypes
import logging

logger = logging.getLogger("riptide.allocator")

# After a burst, half of the resident memory may be holes in the heap. Giving them back takes 2 to
# 3 ms in a thread that does not hold the interpreter's lock.
INTERVAL_S = 30.0
# Only glibc has malloc_trim(3). With another C library, nothing is given back.
_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_back() -> None:
    """Return freed memory to the system, wherever in the heap it lies."""
    if _malloc_trim is not None:
        _malloc_trim(ctypes.c_size_t(0))


async def give_back_regularly() -> None:
    """Give freed memory back every ``INTERVAL_S`` until cancelled, in a thread."""
    while True:
        await asyncio.sleep(INTERVAL_S)
        try:
            await asyncio.to_thread(give_back)
        except RuntimeError as error:
            # The system allows no more threads. That is no fault, and the memory can wait.
            logger.warning("freed memory is not given back (%s): raise the limit of tasks", error)
