"""Publishes NDJSON batches over one persistent connection."""

from __future__ import annotations

import http.client
import threading
from typing import TYPE_CHECKING

from benchmarks.service import HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ACCEPTED = 202
TIMEOUT_S = 60.0
NDJSON = {"Content-Type": "application/x-ndjson"}


class Publisher:
    """A connection to one topic."""

    def __init__(self, port: int, topic: str = "load") -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)
        self._path = f"/topics/{topic}"

    def publish(self, lines: bytes) -> None:
        """Publish a batch and wait until the log has it."""
        self.send(lines)
        self.receive()

    def send(self, lines: bytes) -> None:
        """Send a batch and do not wait."""
        self._connection.request("POST", self._path, lines, NDJSON)

    def receive(self) -> None:
        """Wait until the log has what was sent.

        Raises:
            RuntimeError: the batch was refused.

        """
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != ACCEPTED:
            raise RuntimeError(f"a batch was refused: {body!r}")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Publishing(threading.Thread):
    """A thread that publishes all batches, each once the one before is acknowledged.

    After ``join``, ``failure`` is the error that ended it, if there was one.
    """

    def __init__(self, port: int, batches: Callable[[], Iterator[bytes]]) -> None:
        super().__init__(daemon=True)
        self.failure: Exception | None = None
        self._port = port
        self._batches = batches

    def run(self) -> None:
        """Publish."""
        publisher = Publisher(self._port)
        try:
            for lines in self._batches():
                publisher.publish(lines)
        except (OSError, http.client.HTTPException, RuntimeError) as error:
            self.failure = error
        finally:
            publisher.close()
