"""The topics of the stream: their names, and whether there may be another one."""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import time
from typing import TYPE_CHECKING

from riptide.storage.jetstream.stream import look
from riptide.storage.jetstream.subjects import BARRIER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from riptide.storage.jetstream.engine import Engine
    from riptide.storage.jetstream.reader import Reader
    from riptide.storage.jetstream.subjects import Subjects
    from riptide.storage.message_log import Retention

# The servers give so many names at once.
PAGE = 100_000
# Names that came and went in equal number since are noticed after this time.
REFRESH_S = 10.0
# How long a count of topics that still have messages holds.
COUNT_S = 1.0


class TopicList:
    """Asks the servers for names no more often than they change."""

    def __init__(
        self, engine: Engine, subjects: Subjects, reader: Reader, retention: Retention
    ) -> None:
        self._engine = engine
        self._subjects = subjects
        self._reader = reader
        self._retention = retention
        self._names: list[str] = []
        self._listed_count = 0
        self._listed_at = -REFRESH_S
        # Topics that were given room here, ever, and before the stream was last asked.
        self.begun = 0
        self._begun_before = 0
        self._topic_count = retention.topics
        self._one_by_one = asyncio.Lock()
        # Those who have the lock or wait for it.
        self._in_line = 0
        # Topics whose first message is being written.
        self._beginning = 0
        self._none_begins = asyncio.Event()
        self._none_begins.set()
        self._live_count = 0
        self._counted_at = -COUNT_S

    async def names(self, after: str, limit: int) -> list[str]:
        """Return names of topics with messages after a name, in order, at most so many.

        Raises:
            NoAnswerError: the servers do not answer.
            RefusedError: they answer with an error.

        """
        names = await self.all_names()
        start = bisect.bisect_right(names, after)
        found: list[str] = []
        while len(found) < limit and start < len(names):
            end = start + limit - len(found)
            found += await self._reader.with_messages(names[start:end])
            start = end
        return found

    async def all_names(self) -> Sequence[str]:
        """Return the names of all topics that have records, in order.

        Raises:
            NoAnswerError: the servers do not answer.
            RefusedError: they answer with an error.

        """
        state = await look(self._engine, self._subjects.stream)
        age_s = time.monotonic() - self._listed_at
        if state.topic_count == self._listed_count and age_s < REFRESH_S:
            return self._names
        listed_at = time.monotonic()
        subjects: list[str] = []
        while True:
            question = {"subjects_filter": self._subjects.all_stored, "offset": len(subjects)}
            info = await self._engine.ask(f"STREAM.INFO.{self._subjects.stream}", question)
            page = info["state"].get("subjects") or {}
            subjects += page
            if len(page) < PAGE:
                break
        # A topic that comes while pages are asked for may be on two of them.
        names = set(map(self._subjects.topic, subjects)) - {BARRIER}
        self._names, self._listed_count = sorted(names), len(subjects)
        self._listed_at = listed_at
        return self._names

    def note(self, topic_count: int, begun_before: int) -> None:
        """Take how many topics the stream has, without those of ``begun`` that came since."""
        self._topic_count = topic_count
        self._begun_before = begun_before

    @contextlib.asynccontextmanager
    async def room(self) -> AsyncIterator[None]:
        """Give another topic room for messages, the first of which is written in this context.

        Instances that add topics at the same moment may exceed the limit by as many.

        Raises:
            TopicLimitError: no other topic may have messages.
            NoAnswerError: the servers do not answer.
            RefusedError: they answer with an error.

        """
        begun = self.begun - self._begun_before
        async with contextlib.AsyncExitStack() as stack:
            if self._in_line or self._topic_count + begun >= self._retention.topics:
                # One after the other, so that each counts those before it.
                stack.enter_context(self._line())
                await stack.enter_async_context(self._one_by_one)
                await self._none_begins.wait()
                await self._require_room()
            self.begun += 1
            self._beginning += 1
            self._none_begins.clear()
            try:
                yield
            finally:
                self._beginning -= 1
                if not self._beginning:
                    self._none_begins.set()

    @contextlib.contextmanager
    def _line(self) -> Iterator[None]:
        self._in_line += 1
        try:
            yield
        finally:
            self._in_line -= 1

    async def _require_room(self) -> None:
        state = await look(self._engine, self._subjects.stream)
        if state.topic_count < self._retention.topics:
            return
        if time.monotonic() - self._counted_at > COUNT_S:
            names = await self.all_names()
            self._live_count = len(await self._reader.with_messages(names))
            self._counted_at = time.monotonic()
        if self._live_count >= self._retention.topics:
            raise self._retention.no_more_topics()
        self._live_count += 1
