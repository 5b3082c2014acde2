"""Many SSE consumers on raw sockets in one thread, so fast that they do not limit the service."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from typing import TYPE_CHECKING, Self

from benchmarks.service import HOST

if TYPE_CHECKING:
    from types import TracebackType

# How many connections are opened at once: fewer than the server's backlog holds.
CONNECTING = 500
TIMEOUT_S = 60.0
READ_BYTES = 1 << 20
HEAD_BYTES = 4096
# Each payload has this once, and no control record has it. As one byte, it cannot be split between
# two reads.
MARK = b"~"
OPENED = b'"opened"'


class Consumers:
    """Streams of one topic, which are open within this context."""

    def __init__(self, port: int, count: int, topic: str = "load") -> None:
        self._port = port
        self._count = count
        self._request = (
            f"GET /topics/{topic} HTTP/1.1\r\nHost: {HOST}\r\nAccept: text/event-stream\r\n\r\n"
        ).encode()
        self._open = contextlib.ExitStack()
        self.sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        """Connect all, and wait until each stream has sent its first record."""
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
        """Close all connections."""
        self._open.close()


def count_messages(consumers: Consumers, expected: int) -> int:
    """Read until all streams together have got ``expected`` messages; return how many came.

    These are fewer if nothing comes for ``TIMEOUT_S``, or if all streams have ended.
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
        RuntimeError: the server refused the stream.

    """
    opening = b""
    while OPENED not in opening or not opening.endswith(b"\n\r\n"):
        piece = connection.recv(HEAD_BYTES)
        opening += piece
        if not piece or not opening.startswith(b"HTTP/1.1 200"[: len(opening)]):
            raise RuntimeError(f"no stream was opened: {opening[:200]!r}")
