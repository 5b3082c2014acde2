"""A gate for writers: closed while a client's write buffer has no room."""

from __future__ import annotations

import asyncio


class WriteGate:
    """Open while there is room: the part of ``asyncio.Event`` that a connection needs.

    An ``asyncio.Event`` takes about 800 bytes for its waiters from the start, this gate none until
    a task waits.
    """

    __slots__ = ("_opened", "is_open")

    def __init__(self) -> None:
        self.is_open = True
        self._opened: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Open the gate, and resume all waiting tasks."""
        self.is_open = True
        if self._opened is not None:
            self._opened.set_result(None)
            self._opened = None

    def clear(self) -> None:
        """Close the gate."""
        self.is_open = False

    async def wait(self) -> None:
        """Return once the gate is open."""
        if not self.is_open:
            if self._opened is None:
                self._opened = asyncio.get_running_loop().create_future()
            # All waiting tasks share the future, so one that is cancelled must not cancel it.
            await asyncio.shield(self._opened)
