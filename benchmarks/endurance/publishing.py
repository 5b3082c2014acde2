"""A publisher that goes on whatever happens to the service, and knows what was acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING

import orjson

from benchmarks.service import HOST

if TYPE_CHECKING:
    from collections.abc import Iterable

ACCEPTED = b"HTTP/1.1 202"
RETRY_PAUSE_S = 0.1


class Publisher:
    """Publishes numbered messages, some at once; one whose answer was lost may be there or not."""

    def __init__(self, port: int, topics: Iterable[str], name: str, padding: int = 50) -> None:
        self.acknowledged: list[tuple[str, int]] = []
        self.refused = 0
        self._port = port
        self._topics = tuple(topics)
        self._name = name
        self._padding = "x" * padding
        self._number = 0
        self._stopped = False

    async def run(self, batch: int, interval_s: float) -> None:
        """Publish a batch every so often until stopped; the topics take turns."""
        topics = itertools.cycle(self._topics)
        while not self._stopped:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection(HOST, self._port)
                try:
                    while not self._stopped:
                        await self._publish(reader, writer, next(topics), batch)
                        await asyncio.sleep(interval_s)
                finally:
                    writer.close()
            await asyncio.sleep(RETRY_PAUSE_S)

    def stop(self) -> None:
        """Publish nothing more; ``run`` returns once what is on its way has been answered.

        One that is cancelled instead may leave a message that the service stores later.
        """
        self._stopped = True

    async def _publish(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, topic: str, batch: int
    ) -> None:
        numbers = range(self._number, self._number + batch)
        self._number += batch
        body = b"\n".join(orjson.dumps([self._name, number, self._padding]) for number in numbers)
        writer.write(
            f"POST /topics/{topic} HTTP/1.1\r\nHost: {HOST}\r\n"
            "Content-Type: application/x-ndjson\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.partition(b":")[2])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        )
        await reader.readexactly(length)
        if head.startswith(ACCEPTED):
            self.acknowledged += [(topic, number) for number in numbers]
        else:
            self.refused += batch
