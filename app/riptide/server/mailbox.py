"""A queue for the messages of a WebSocket client on their way to the application."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A queue for one reader: the part of ``asyncio.Queue`` that a connection needs.

    An ``asyncio.Queue`` takes over 2 kB for its waiting readers and writers from the start, in each
    idle connection. This one takes none of that until its reader waits.
    """

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
