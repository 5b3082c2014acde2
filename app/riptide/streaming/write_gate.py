"""Whether a client's write buffer has room, for those who wait for it."""

from __future__ import annotations

import asyncio


class WriteGate:
    """Open while there is room; as much of ``asyncio.Event`` as a connection needs.

    An ``asyncio.Event`` has room for any number of waiters from the start, about 800 bytes. This
    one takes none until somebody waits.
    """

    __slots__ = ("_opened", "is_open")

    def __init__(self) -> None:
        self.is_open = True
        self._opened: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Open the gate, and let all who wait go on."""
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
            # The future belongs to all who wait: one that gives up must not cancel it.
            await asyncio.shield(self._opened)
