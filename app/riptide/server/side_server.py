"""A server beside the main one: of the metrics port, or while the log is being opened."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    import socket
    from collections.abc import Generator


class SideServer(uvicorn.Server):
    """A server beside the main server, which handles the signals."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        super().__init__(config)
        self.listener = listener
        self._finished = asyncio.Event()

    async def run_beside(self) -> None:
        """Serve until ``finish`` is called.

        Raises:
            RuntimeError: the server ended before.

        """
        try:
            await self.serve(sockets=[self.listener])
        finally:
            self._finished.set()
        if not self.should_exit:
            raise RuntimeError("a server beside the main server has ended")

    async def finish(self) -> None:
        """Let the requests under way end, and stop serving."""
        self.should_exit = True
        await self._finished.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals alone."""
        yield
