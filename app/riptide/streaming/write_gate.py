"""A gate and a mailbox for idle connections.

asyncio's ``Event`` and ``Queue`` have room for any number of waiters from the start: the five of an
idle WebSocket would take 4 kB. These take none until somebody waits.
"""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Gate:
    """Open or closed; as much of ``asyncio.Event`` as a connection needs."""

    __slots__ = ("_opened", "is_open")

    def __init__(self) -> None:
        self.is_open = True
        self._opened: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Open it, and let those through who wait."""
        self.is_open = True
        if self._opened is not None:
            self._opened.set_result(None)
            self._opened = None

    def clear(self) -> None:
        """Close it."""
        self.is_open = False

    async def wait(self) -> None:
        """Return once it is open."""
        if not self.is_open:
            if self._opened is None:
                self._opened = asyncio.get_running_loop().create_future()
            # It belongs to all who wait: one that gives up must not take it along.
            await asyncio.shield(self._opened)


class Mailbox(Generic[T]):
    """Items in order for one reader; as much of ``asyncio.Queue`` as a connection needs."""

    __slots__ = ("_items", "_reader")

    def __init__(self) -> None:
        self._items: list[T] = []
        self._reader: asyncio.Future[None] | None = None

    def put_nowait(self, item: T) -> None:
        """Add an item, and wake the reader."""
        self._items.append(item)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def empty(self) -> bool:
        """Return whether there is nothing to read."""
        return not self._items

    async def get(self) -> T:
        """Return the oldest item; wait for one if there is none."""
        while not self._items:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self._items.pop(0)
