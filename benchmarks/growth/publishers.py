"""Publishers that publish one message after the other, all on one thread, and note each answer.

Threads of Python would wait for each other, and the wait would be measured as the service's.
"""

from __future__ import annotations

import selectors
import socket
import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.service import HOST

if TYPE_CHECKING:
    from collections.abc import Callable

ACCEPTED = b"HTTP/1.1 202"
TIMEOUT_S = 120.0
RECEIVE_BYTES = 65536
MILLISECONDS = 1000


class Answers(NamedTuple):
    """When each answer came, and how long it took; both in seconds."""

    moments: list[float]
    waits: list[float]

    def percentile_ms(self, percent: int) -> float:
        """Return the time within which so many percent of the answers came."""
        return statistics.quantiles(self.waits, n=100)[percent - 1] * MILLISECONDS

    def unhurried_percentile_ms(self, percent: int, interval_s: float) -> float:
        """Return the percentile for messages that come whether or not others are answered.

        A publisher that waits sends nothing, so that a long stall is few waits. Here, each wait
        also counts for the messages that would have come in it, one each ``interval_s``.
        """
        waits = [
            wait - missed * interval_s
            for wait in self.waits
            for missed in range(1 + int(wait / interval_s))
        ]
        return statistics.quantiles(waits, n=100)[percent - 1] * MILLISECONDS

    def longest_gap_ms(self) -> float:
        """Return the longest time between one answer and the next."""
        pairs = zip(self.moments, self.moments[1:], strict=False)
        return max(later - earlier for earlier, later in pairs) * MILLISECONDS

    def per_second(self) -> float:
        """Return the rate of answers."""
        return (len(self.moments) - 1) / (self.moments[-1] - self.moments[0])


class Publishers:
    """So many connections to a service. Each publishes its next message once it has its answer."""

    def __init__(self, port: int, count: int) -> None:
        self._sockets = [socket.create_connection((HOST, port), TIMEOUT_S) for _ in range(count)]
        for each in self._sockets:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Publishers:  # noqa: PYI034  # this is no class to inherit from
        """Return the connections, which are open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        for each in self._sockets:
            each.close()

    def publish(
        self,
        topic: Callable[[int], str],
        body: bytes,
        *,
        until: Callable[[int], bool],
        media_type: str = "application/json",
    ) -> Answers:
        """Publish until the condition is met of the number of answers.

        ``topic`` returns the topic of the n-th publish.

        Raises:
            RuntimeError: a publish was refused, or was not answered.

        """
        head = f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode()

        def request(number: int) -> bytes:
            return (
                f"POST /topics/{topic(number)} HTTP/1.1\r\nHost: {HOST}\r\n".encode() + head + body
            )

        answers = Answers([], [])
        with selectors.DefaultSelector() as selector:
            sent: dict[socket.socket, float] = {}
            published = 0
            for each in self._sockets:
                selector.register(each, selectors.EVENT_READ)
                sent[each] = time.perf_counter()
                each.sendall(request(published))
                published += 1
            while sent:
                ready = selector.select(TIMEOUT_S)
                if not ready:
                    raise RuntimeError(f"a publish was not answered within {TIMEOUT_S:g} s")
                for key, _ in ready:
                    connection = next(each for each in self._sockets if each is key.fileobj)
                    _receive(connection)
                    now = time.perf_counter()
                    answers.moments.append(now)
                    answers.waits.append(now - sent.pop(connection))
                    if not until(len(answers.moments)):
                        sent[connection] = time.perf_counter()
                        connection.sendall(request(published))
                        published += 1
        return answers


def _receive(connection: socket.socket) -> None:
    """Read an answer.

    Raises:
        RuntimeError: it says that the publish was refused, or the service is gone.

    """
    answer = b""
    while True:
        head, end, body = answer.partition(b"\r\n\r\n")
        if end and len(body) >= _content_length(head):
            break
        received = connection.recv(RECEIVE_BYTES)
        if not received:
            raise RuntimeError("the service closed the connection of a publisher")
        answer += received
    if not answer.startswith(ACCEPTED):
        raise RuntimeError(f"a publish was refused: {answer!r}")


def _content_length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.partition(b"\r")[0])
