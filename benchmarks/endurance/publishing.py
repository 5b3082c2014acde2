"""A publisher that continues whatever happens to the service, and keeps what was acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING

import orjson

from benchmarks.endurance.place import address
from benchmarks.service import HOST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from benchmarks.endurance.place import Place

ACCEPTED = b"HTTP/1.1 202"
MAYBE = b"may have been kept"
RETRY_PAUSE_S = 0.1


class Publisher:
    """Publishes batches of numbered messages; a batch without an answer may be stored or not."""

    def __init__(
        self,
        place: Place,
        topics: Iterable[str],
        name: str,
        padding: int = 50,
        *,
        first: int = 0,
    ) -> None:
        """``first`` is the number of the first message."""
        self.acknowledged: list[tuple[str, int]] = []
        # Those of which the service said that they were not published.
        self.refused_numbers: list[int] = []
        # Those of which nobody knows whether they were kept, as the service said.
        self.uncertain = 0
        self._place = place
        self._topics = tuple(topics)
        self._name = name
        self._padding = "x" * padding
        self._number = first

    @property
    def refused(self) -> int:
        """How many messages the service refused, or may have."""
        return len(self.refused_numbers) + self.uncertain

    @contextlib.asynccontextmanager
    async def publishing(self, batch_size: int, interval_s: float) -> AsyncIterator[None]:
        """Within this context, publish a batch to each topic in turn, every ``interval_s``.

        At the end, the answer to the last batch is awaited, because the batch might be stored
        later otherwise.
        """
        over = asyncio.Event()
        task = asyncio.create_task(self._run(batch_size, interval_s, over))
        try:
            yield
            over.set()
            await task
        finally:
            task.cancel()

    async def _run(self, batch_size: int, interval_s: float, over: asyncio.Event) -> None:
        topics = itertools.cycle(self._topics)
        while not over.is_set():
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection(*address(self._place))
                try:
                    while not over.is_set():
                        await self._publish(reader, writer, next(topics), batch_size)
                        await asyncio.sleep(interval_s)
                finally:
                    writer.close()
            await asyncio.sleep(RETRY_PAUSE_S)

    async def _publish(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        topic: str,
        batch_size: int,
    ) -> None:
        numbers = range(self._number, self._number + batch_size)
        self._number += batch_size
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
        said = await reader.readexactly(length)
        if head.startswith(ACCEPTED):
            self.acknowledged += [(topic, number) for number in numbers]
        elif MAYBE in said:
            self.uncertain += batch_size
        else:
            self.refused_numbers += numbers
