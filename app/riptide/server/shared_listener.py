"""Accepts connections from a listener that several workers share, so that each gets its part."""

from __future__ import annotations

import asyncio
import logging
import select
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

    from riptide.server.turns import Turns

logger = logging.getLogger("riptide.server")

# Connections that are accepted before those that are open get a turn of the event loop.
BATCH = 8
# Time until a worker that has left connections to the others looks whether they have taken them.
LOOK_S = 0.002
# Time until a worker that has no file descriptor left tries again; others may have some.
NO_DESCRIPTOR_S = 0.1


class CountedConnections(set[Any]):
    """The connections that uvicorn has, which tells each change of their number."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        super().__init__()
        self._on_change = on_change

    def add(self, connection: Any) -> None:
        """Add a connection that has been made."""
        super().add(connection)
        self._on_change()

    def discard(self, connection: Any) -> None:
        """Remove a connection that is lost."""
        super().discard(connection)
        self._on_change()


class SharedListener:
    """Accepts connections while it is this worker's turn. It is one of uvicorn's ``servers``.

    The listener never blocks: whether it does is the same for all workers.
    """

    def __init__(
        self,
        listener: socket.socket,
        turns: Turns,
        *,
        is_last: Callable[[], bool],
    ) -> None:
        self.connections = CountedConnections(self._show)
        self._listener = listener
        self._turns = turns
        self._is_last = is_last
        self._waiting = select.poll()
        self._opening: set[asyncio.Task[None]] = set()
        self._make_protocol: Callable[[], asyncio.Protocol]
        self._ssl: ssl.SSLContext | None = None
        self._loop: asyncio.AbstractEventLoop
        self._pause: asyncio.TimerHandle | None = None
        self._listens = False
        self._complained = False

    def start(
        self, make_protocol: Callable[[], asyncio.Protocol], ssl: ssl.SSLContext | None
    ) -> None:
        """Accept connections from now on."""
        self._make_protocol = make_protocol
        self._ssl = ssl
        self._loop = asyncio.get_running_loop()
        self._waiting.register(self._listener, select.POLLIN)
        self._listens = True
        self._show()
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """Accept no more connections."""
        self._listens = False
        self._turns.leave()
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener.fileno())

    async def wait_closed(self) -> None:
        """Return at once: uvicorn waits for the connections by itself."""

    def _show(self) -> None:
        if self._listens:
            connections = len(self.connections) + len(self._opening)
            self._turns.show(connections, last=self._is_last())

    def _accept(self) -> None:
        # What this worker is may have changed since the last connection.
        self._show()
        for _ in range(BATCH):
            if self._turns.is_over():
                self._pause_for(LOOK_S)
                return
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if not self._complained:
                    logger.warning("cannot accept connections for now (%s)", error.strerror)
                self._complained = True
                self._pause_for(NO_DESCRIPTOR_S)
                return
            self._complained = False
            connection.setblocking(False)
            self._turns.note_accepted()
            opening = self._loop.create_task(self._open(connection))
            self._opening.add(opening)
            opening.add_done_callback(self._has_opened)
            self._show()

    async def _open(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make_protocol, connection, ssl=self._ssl)
        except OSError:
            # The client has left, or the handshake of TLS has failed.
            connection.close()

    def _has_opened(self, opening: asyncio.Task[None]) -> None:
        self._opening.discard(opening)
        self._show()

    def _pause_for(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener.fileno())
        self._pause = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self._pause = None
        if self._waiting.poll(0):
            self._accept()
        else:
            self._turns.nobody_waits()
        if self._pause is None:
            self._loop.add_reader(self._listener.fileno(), self._accept)
