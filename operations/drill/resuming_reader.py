"""A consumer that is too slow, and resumes where it stopped each time that it is cut off."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from operations.drill.clients import Consumer

if TYPE_CHECKING:
    from operations.drill.processes import Service

_MESSAGE_ID: Final = re.compile(rb'"id":"([0-9a-f]{8}-[0-9]+)","time"')
# More than the beginning of a message up to its time.
_BEGINNING_BYTES: Final = 100
_READ_BYTES: Final = 16 * 1024
_RETRY_S: Final = 0.5


class ResumingReader:
    """Reads a topic at ``bytes_per_second``, which may change while it reads.

    ``last_id`` is the id of the last message that it has begun to read.
    """

    def __init__(self, service: Service, topic: str, bytes_per_second: float) -> None:
        self.bytes_per_second = bytes_per_second
        self.last_id = ""
        self.cut_off_count = 0
        self._progress = asyncio.Event()
        self._service = service
        self._topic = topic

    async def wait_for(self, sequence: int) -> None:
        """Return when the message of this number has been read."""
        while not self.last_id or sequence_of(self.last_id) < sequence:
            self._progress.clear()
            await self._progress.wait()

    async def run(self) -> None:
        """Read until cancelled, over one connection after the other."""
        while True:
            query = f"?after={quote(self.last_id)}" if self.last_id else ""
            consumer = Consumer(self._service, self._topic, query)
            try:
                with contextlib.suppress(OSError):
                    await consumer.open(small_buffers=True)
                    await self._read(consumer)
                    self.cut_off_count += 1
            finally:
                consumer.close()
            await asyncio.sleep(_RETRY_S)

    async def _read(self, consumer: Consumer) -> None:
        rest, due = b"", time.monotonic()
        while data := await consumer.receive(_READ_BYTES):
            rest += data
            for found in _MESSAGE_ID.finditer(rest):
                self.last_id = found[1].decode()
                self._progress.set()
            rest = rest[-_BEGINNING_BYTES:]
            due = max(due, time.monotonic() - 1) + len(data) / self.bytes_per_second
            await asyncio.sleep(max(0.0, due - time.monotonic()))


def sequence_of(message_id: str) -> int:
    """Return the number of a message in its topic."""
    return int(message_id.partition("-")[2])
