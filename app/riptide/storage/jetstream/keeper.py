"""Keeps the numbers of topics that nobody writes to, and deletes messages that are too many.

The stream deletes records by their age. With the last one of a topic, its number would be lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from typing import TYPE_CHECKING

from riptide.storage.jetstream.engine import REQUEST_TIMEOUT_S, NoAnswerError, RefusedError
from riptide.storage.jetstream.heads import Head
from riptide.storage.jetstream.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from riptide.storage.jetstream.appender import Appender
    from riptide.storage.jetstream.reader import Reader
    from riptide.storage.jetstream.stored_records import Stored
    from riptide.storage.jetstream.stream import StreamState
    from riptide.storage.jetstream.topic_list import TopicList
    from riptide.storage.message_log import Retention

logger = logging.getLogger("riptide.log")

# Messages of a topic that are too many are deleted no more often.
PURGE_INTERVAL_S = 5.0
# All topics are looked at several times in the life of a record, but no more and no less often.
SHORTEST_ROUND_S, LONGEST_ROUND_S = 1.0, 3600.0
ROUNDS_OF_A_LIFE = 16
# An instance that lives for a short time looks at them, too.
FIRST_ROUND_S = 60.0
# Records that are written together.
RENEWED_AT_ONCE = 50


class Keeper:
    """Does what time brings. All instances do: who is the second to renew a head is refused."""

    def __init__(
        self,
        appender: Appender,
        reader: Reader,
        topics: TopicList,
        retention: Retention,
        state: Callable[[], StreamState],
    ) -> None:
        self._stored = appender.stored
        self._heads = appender.heads
        self._names = appender.names()
        self._reader = reader
        self._topics = topics
        self._retention = retention
        self._state = state
        # Topics to which this instance has appended since their surplus was last deleted.
        self._appended: set[str] = set()

    def note_append(self, topic: str) -> None:
        """Look at a topic's surplus soon."""
        self._appended.add(topic)

    async def run(self) -> None:
        """Do what is due again and again, until cancelled."""
        round_at = time.monotonic() + FIRST_ROUND_S * random.uniform(0.5, 1)  # noqa: S311  # no secret
        while True:
            await asyncio.sleep(PURGE_INTERVAL_S)
            with contextlib.suppress(NoAnswerError, RefusedError):
                await self.purge()
            if time.monotonic() >= round_at:
                try:
                    await self.renew_heads()
                except (NoAnswerError, RefusedError) as error:
                    logger.warning("topics without new messages were not looked at: %s", error)
                round_at = time.monotonic() + self._round_s() * random.uniform(0.5, 1)  # noqa: S311  # no secret

    async def purge(self) -> None:
        """Delete what topics have beyond the messages that are kept of each.

        Raises:
            NoAnswerError: the stream does not answer.
            RefusedError: it answers with an error.

        """
        for topic in tuple(self._appended):
            # An append from now on is looked at the next time.
            self._appended.discard(topic)
            try:
                await self._purge(topic)
            except (NoAnswerError, RefusedError):
                self._appended.add(topic)
                raise

    async def renew_heads(self) -> None:
        """Write an empty record to topics whose newest one has lived for half of its time.

        As many topics without messages are remembered as may have some. Of others, the number and
        the epoch end with the last record.

        Raises:
            NoAnswerError: the stream does not answer.
            RefusedError: it answers with an error.

        """
        max_age_s = self._state().max_age_s
        if not max_age_s:
            return
        lasts = await self._stored.lasts(await self._topics.all_names())
        oldest_ns = max(1, self._retention.oldest_kept())
        idle: list[tuple[int, str]] = []
        due: dict[str, Stored] = {}
        for topic, last in lasts.items():
            if last.record is None:
                continue
            if last.record.accepted_at() < oldest_ns:
                idle.append((last.sequence, topic))
            if last.stored_at < time.time() - max_age_s / 2:
                due[topic] = last
        # Those that were renewed first go first: they have had no messages for the longest time.
        idle.sort()
        for _, topic in idle[: -self._retention.topics]:
            due.pop(topic, None)
        ordered = sorted(due.items(), key=lambda each: each[1].sequence)
        for start in range(0, len(ordered), RENEWED_AT_ONCE):
            some = ordered[start : start + RENEWED_AT_ONCE]
            await asyncio.gather(*(self._renew(topic, last) for topic, last in some))

    async def _renew(self, topic: str, last: Stored) -> None:
        assert last.record is not None  # noqa: S101  # those alone are due
        epoch, number = last.record.head
        record = Record(epoch, number + 1, next(self._names))
        # Who was quicker, another keeper or a publisher, has done the same. What failed is due
        # again in the next round.
        with contextlib.suppress(NoAnswerError, RefusedError):
            sequence = await self._stored.store(
                topic, [record], last.sequence, timeout_s=REQUEST_TIMEOUT_S
            )
            self._heads.note(topic, Head(record.head, sequence))

    async def _purge(self, topic: str) -> None:
        head = self._heads.get(topic) or await self._reader.head(topic)
        first_kept = self._retention.first_kept(head.id.sequence)
        if first_kept > 1:
            found = await self._reader.find(topic, first_kept)
            if found is not None:
                await self._stored.purge(topic, found.sequence)

    def _round_s(self) -> float:
        part_s = self._state().max_age_s / ROUNDS_OF_A_LIFE
        return min(max(part_s, SHORTEST_ROUND_S), LONGEST_ROUND_S)
