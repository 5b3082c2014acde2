"""The C library's allocator, and the freed memory it keeps: given back to the system."""

from __future__ import annotations

import asyncio
import ctypes

# After a burst, half of what stays resident may be holes in the heap. Giving them back takes 2 to
# 3 ms of a thread that has no need of the interpreter.
INTERVAL_S = 30.0
# malloc_trim(3), which is glibc's own: nothing is kept from giving back where there is none.
_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_back() -> None:
    """Return to the system what has been freed, wherever in the heap it lies."""
    if _malloc_trim is not None:
        _malloc_trim(ctypes.c_size_t(0))


async def give_back_regularly() -> None:
    """Do so until cancelled, beside the event loop."""
    while True:
        await asyncio.sleep(INTERVAL_S)
        await asyncio.to_thread(give_back)
