"""A stream in memory, with the semantics of the real one and the faults that tests want."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from riptide.storage.jetstream.appender import NOT_THE_LAST
from riptide.storage.jetstream.engine import RefusedError
from riptide.storage.jetstream.stored_records import Stored, StoredRecords
from riptide.storage.jetstream.subjects import BARRIER, Subjects

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from riptide.storage.jetstream.engine import Engine
    from riptide.storage.jetstream.record import Record


class FakeStream(StoredRecords):
    """Records of topics. ``listeners`` are called with what is stored, some turns later."""

    def __init__(self) -> None:
        super().__init__(cast("Engine", None), Subjects("fake"))
        self.topics: dict[str, list[Stored]] = {}
        self.last_sequence = 0
        self.listeners: list[Callable[[str, Record, int], None]] = []
        self.looks = 0

    def put(self, topic: str, record: Record | None, *, skip: int = 0) -> int:
        """Store a record, or a foreign message, after messages of no interest."""
        self.last_sequence += skip + 1
        self.topics.setdefault(topic, []).append(Stored(self.last_sequence, record))
        if record is not None:
            for listener in self.listeners:
                asyncio.get_running_loop().call_soon(listener, topic, record, self.last_sequence)
        return self.last_sequence

    def records(self, topic: str) -> list[Record]:
        """Return all records of a topic."""
        return [s.record for s in self.topics.get(topic, []) if s.record is not None]

    async def store(
        self, topic: str, records: Sequence[Record], after: int, *, timeout_s: float
    ) -> int:
        """Store records behind another one."""
        assert timeout_s > 0
        stored = self.topics.get(topic)
        if after != (stored[-1].sequence if stored else 0):
            raise RefusedError(NOT_THE_LAST, "wrong last sequence")
        return [self.put(topic, record) for record in records][-1]

    async def put_barrier(self, epoch: str) -> int:
        """Store a barrier."""
        assert epoch
        self.topics.pop(BARRIER, None)
        return self.put(BARRIER, None)

    async def last(self, topic: str) -> Stored | None:
        """Return the newest message of a topic."""
        self.looks += 1
        return self.topics.get(topic, [None])[-1]

    async def next(self, topic: str, sequence: int) -> Stored | None:
        """Return the first message from a number on."""
        return next(iter(await self.several(topic, sequence, 1)), None)

    async def several(self, topic: str, sequence: int, count: int = 3) -> list[Stored]:
        """Return some messages from a number on."""
        self.looks += 1
        return [s for s in self.topics.get(topic, []) if s.sequence >= sequence][:count]

    async def first_since(self, topic: str, unix_ns: int) -> list[Stored]:
        """Return the first message that was stored from a moment on, when it was accepted."""
        found = self.topics.get(topic, [])
        return [s for s in found if s.record is None or s.record.accepted_at() >= unix_ns][:1]

    async def lasts(self, topics: Sequence[str]) -> dict[str, Stored]:
        """Return the newest message of each topic."""
        return {topic: self.topics[topic][-1] for topic in topics if self.topics.get(topic)}
