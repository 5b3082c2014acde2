"""Pushes to feeds what the stream tells of the topics that they follow."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from riptide.storage.jetstream.stored_records import stored_of
from riptide_telemetry import GapSign

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from riptide.message import Message, MessageId
    from riptide.storage.jetstream.engine import Engine
    from riptide.storage.jetstream.record import Record
    from riptide.storage.jetstream.stored_records import Stored, StoredRecords
    from riptide.storage.jetstream.subjects import Subjects
    from riptide.storage.message_log import Connection, Feed

logger = logging.getLogger("riptide.log")

# A leader that dies may have stored a record without telling of it. All followed topics are looked
# at so often for that, so many at once.
SWEEP_INTERVAL_S = 1.0
SWEPT_AT_ONCE = 1000


class _Topic:
    """Who follows a topic, and the newest record that they were pushed."""

    def __init__(self) -> None:
        self.feeds: dict[Feed, None] = {}
        self.subscription: Subscription | None = None
        self.subscribing = asyncio.Lock()
        # Known once the topic's bounds are.
        self.head: MessageId | None = None
        self.sequence = 0
        # The newest that came before that.
        self.early: Stored | None = None
        # The record that the last sweep has found, of which the stream has not told.
        self.found = 0


class Follower:
    """Follows topics by subscriptions to what the stream tells as soon as it has stored it.

    Nothing of that is repeated. The numbers show what was not heard: feeds learn by the next
    message, or by the newest one, that others come before it, which the log has.
    """

    def __init__(  # noqa: PLR0913  # each is a part of its own
        self,
        engine: Engine,
        stored: StoredRecords,
        subjects: Subjects,
        hear: Callable[[str, Record, int], list[Message]],
        connection: Connection,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a follower that follows nothing yet.

        ``hear`` takes what the stream has told of, with its number, and returns its messages.
        """
        self._engine = engine
        self._stored = stored
        self._subjects = subjects
        self._hear = hear
        self._connection = connection
        self._clock = clock
        self._complete_at = clock()
        self._topics: dict[str, _Topic] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._topics)

    async def follow(self, topic: str, feed: Feed) -> None:
        """Push the topic's messages to the feed from now on.

        Raises:
            NoAnswerError: there is no connection; the feed follows all the same.

        """
        followed = self._topics.get(topic)
        if followed is None:
            followed = self._topics[topic] = _Topic()
        followed.feeds[feed] = None
        try:
            async with followed.subscribing:
                if followed.subscription is None:
                    await self._subscribe(topic, followed)
        finally:
            if not followed.feeds:
                # All have left in the meantime.
                self._end(followed)

    def begin(self, topic: str, head: MessageId, sequence: int) -> None:
        """Push what comes after a topic's head, now that it is known."""
        followed = self._topics.get(topic)
        if followed is None or followed.head is not None:
            return
        followed.head, followed.sequence = head, sequence
        early, followed.early = followed.early, None
        if early is not None:
            self._take(topic, early)

    def unfollow(self, topic: str, feed: Feed) -> None:
        """Push nothing more of the topic to the feed."""
        followed = self._topics.get(topic)
        if followed is None or feed not in followed.feeds:
            return
        del followed.feeds[feed]
        if not followed.feeds:
            del self._topics[topic]
            self._end(followed)

    def lag_s(self) -> float:
        """Return how old messages of followed topics may be that are not known here."""
        return self._clock() - self._complete_at if self._topics else 0.0

    async def sweep(self, sign: GapSign = GapSign.SWEEP) -> None:
        """Push the newest messages of topics of which not all was heard; ``sign`` is why.

        Raises:
            NoAnswerError: the stream does not answer.
            RefusedError: it answers with an error.

        """
        began_at = self._clock()
        topics = [topic for topic, followed in self._topics.items() if followed.head is not None]
        for topic in topics:
            self._count_if_not_told(self._topics[topic])
        for start in range(0, len(topics), SWEPT_AT_ONCE):
            lasts = await self._stored.lasts(topics[start : start + SWEPT_AT_ONCE])
            for topic, stored in lasts.items():
                followed = self._topics.get(topic)
                if followed is not None and stored.sequence > followed.sequence:
                    self._take(topic, stored, sign)
        self._complete_at = began_at

    def lose_all(self) -> None:
        """Let all feeds begin anew: the stream has gone back."""
        for followed in self._topics.values():
            followed.head, followed.sequence, followed.found = None, 0, 0
            for feed in tuple(followed.feeds):
                feed.lost()

    async def _subscribe(self, topic: str, followed: _Topic) -> None:
        async def take(message: Msg) -> None:
            self._take(topic, stored_of(message))

        followed.subscription = await self._engine.subscribe(self._subjects.live(topic), take)
        # What is asked from now on is behind the subscription on the same connection, but may be
        # answered by another server.
        await self._engine.flush()

    def _end(self, followed: _Topic) -> None:
        subscription, followed.subscription = followed.subscription, None
        if subscription is not None:
            task = asyncio.create_task(self._engine.unsubscribe(subscription))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def _count_if_not_told(self, followed: _Topic) -> None:
        """Count a gap if the stream has still not told of what the last sweep has found."""
        if followed.found:
            self._connection.gaps[GapSign.SWEEP] += 1
            followed.found = 0

    def _take(self, topic: str, stored: Stored, sign: GapSign = GapSign.NUMBER) -> None:
        followed = self._topics.get(topic)
        record = stored.record
        if followed is None or record is None:
            return
        if followed.head is None:
            followed.early = stored
            return
        if stored.sequence <= followed.sequence:
            if stored.sequence >= followed.found:
                # It was only slower than the sweep.
                followed.found = 0
            return
        head = followed.head
        messages = self._hear(topic, record, stored.sequence)
        if record.first <= head.sequence:
            # The numbers began anew: all messages of the topic had gone before.
            followed.head, followed.sequence = record.head, stored.sequence
            for feed in tuple(followed.feeds):
                feed.lost()
            return
        if sign is GapSign.SWEEP:
            followed.found = stored.sequence
        elif sign is GapSign.RECONNECT or record.first > head.sequence + 1:
            self._connection.gaps[sign] += 1
        followed.head, followed.sequence = record.head, stored.sequence
        if messages:
            # Publishers of this instance have their answers first.
            asyncio.get_running_loop().call_soon(_push, followed, messages)


def _push(followed: _Topic, messages: list[Message]) -> None:
    for feed in tuple(followed.feeds):
        feed.push(messages)
