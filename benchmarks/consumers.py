"""Many SSE consumers on raw sockets in one thread: fast enough not to be what is measured."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from typing import TYPE_CHECKING, Self

from benchmarks.service import HOST

if TYPE_CHECKING:
    from types import TracebackType

# Connections on their way at once; the server's backlog takes more.
CONNECTING = 500
TIMEOUT_S = 60.0
READ_BYTES = 1 << 20
HEAD_BYTES = 4096
# Stands in the payload of each message once, and in nothing that a stream says about itself: one
# byte, so that no read can split it.
MARK = b"~"
OPENED = b'"opened"'


class Consumers:
    """Open streams of one topic. To be used as a context, which connects and closes them."""

    def __init__(self, port: int, count: int, topic: str = "load") -> None:
        self._port = port
        self._count = count
        self._request = (
            f"GET /topics/{topic} HTTP/1.1\r\nHost: {HOST}\r\nAccept: text/event-stream\r\n\r\n"
        ).encode()
        self._open = contextlib.ExitStack()
        self.sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        """Connect all, and wait until each stream has said its first word."""
        with contextlib.ExitStack() as connecting:
            for first in range(0, self._count, CONNECTING):
                some = [
                    connecting.enter_context(
                        socket.create_connection((HOST, self._port), TIMEOUT_S)
                    )
                    for _ in range(min(CONNECTING, self._count - first))
                ]
                for connection in some:
                    connection.sendall(self._request)
                for connection in some:
                    _read_opening(connection)
                    connection.setblocking(False)
                self.sockets += some
            self._open = connecting.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all."""
        self._open.close()


def count_messages(consumers: Consumers, expected: int) -> int:
    """Read until so many messages have come in all, and return how many have.

    Returns less if nothing comes for a while, or if all streams have ended.
    """
    received = 0
    buffer = bytearray(READ_BYTES)
    with selectors.DefaultSelector() as selector:
        for connection in consumers.sockets:
            selector.register(connection, selectors.EVENT_READ, connection)
        quiet_since = time.monotonic()
        while received < expected and selector.get_map():
            ready = selector.select(1.0)
            if ready:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > TIMEOUT_S:
                break
            for key, _ in ready:
                connection = key.data
                size = connection.recv_into(buffer)
                received += buffer.count(MARK, 0, size)
                if not size:
                    selector.unregister(connection)
    return received


def _read_opening(connection: socket.socket) -> None:
    """Read a stream up to its first record.

    Raises:
        RuntimeError: the server refused it.

    """
    opening = b""
    while OPENED not in opening or not opening.endswith(b"\n\r\n"):
        piece = connection.recv(HEAD_BYTES)
        opening += piece
        if not piece or not opening.startswith(b"HTTP/1.1 200"[: len(opening)]):
            raise RuntimeError(f"no stream was opened: {opening[:200]!r}")
