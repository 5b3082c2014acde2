"""A log in memory, for throw-away runs: everything is gone when the process ends."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections import deque
from typing import TYPE_CHECKING

from riptide.message import NANOSECONDS
from riptide.storage.damage import Damage
from riptide.storage.feeds import Feeds
from riptide.storage.message_log import (
    Bounds,
    Connection,
    IdState,
    ListedTopic,
    Retention,
    id_state,
    read_ends,
)
from riptide.storage.topic_names import TopicNames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from riptide.message import Message, MessageId, Receipt
    from riptide.publication import Publication
    from riptide.storage.message_log import Answer, Feed

# Expired topics are looked for at most this often, because the search visits every topic.
SWEEP_INTERVAL_S = 1.0


class MemoryLog:
    """A ``MessageLog`` in a dictionary of deques."""

    def __init__(self, retention: Retention) -> None:
        self.epoch = secrets.token_hex(4)
        # Nothing checks memory; the counts stay 0.
        self.damage = Damage()
        self.connection = Connection()
        self._retention = retention
        # Only topics that have messages. With each message, when it came, on the monotonic clock.
        self._messages: dict[str, deque[tuple[int, Message]]] = {}
        self._names = TopicNames()
        self._feeds = Feeds()
        self._heads: dict[str, int] = {}
        self._bytes = 0
        self._next_sweep = 0.0

    async def open(self) -> None:
        """Do nothing: memory is always ready."""

    async def close(self) -> None:
        """Forget everything."""
        self._messages.clear()
        self._names = TopicNames()

    def append(self, publication: Publication) -> asyncio.Future[Receipt]:
        """Keep the payloads; the future is done in the next turn of the event loop."""
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self.append_for(publication, future)
        return future

    def append_for(self, publication: Publication, answer: Answer) -> None:
        """Keep the payloads, and answer in the next turn of the event loop."""
        if publication.topic not in self._messages and not self._has_room():
            answer.set_exception(self._retention.no_more_topics())
            return
        receipt = self._keep(publication)
        asyncio.get_running_loop().call_soon(self._answer, publication, answer, receipt)

    async def follow(self, topic: str, feed: Feed) -> ListedTopic:
        """Push the topic's messages to the feed from now on."""
        self._feeds.follow(topic, feed)
        return ListedTopic(topic, await self.bounds(topic), self.epoch)

    def unfollow(self, topic: str, feed: Feed) -> None:
        """Push nothing more of the topic to the feed."""
        self._feeds.unfollow(topic, feed)

    def followed_count(self) -> int:
        """Return how many topics have feeds."""
        return self._feeds.topic_count()

    async def bounds(self, topic: str) -> Bounds:
        """Return which messages of the topic there are."""
        head = self._heads.get(topic, 0)
        messages = self._expire(topic)
        return Bounds(messages[0][1].sequence if messages else head + 1, head)

    async def place(self, topic: str, position: MessageId) -> IdState:
        """Return whether a consumer can go on after an id, which has to be of this life."""
        if position.epoch != self.epoch:
            return IdState.NEVER
        bounds = await self.bounds(topic)
        return id_state(position, bounds, bounds.head)

    async def read(self, topic: str, after: int) -> list[Message]:
        """Return the messages that follow ``after``."""
        messages = self._expire(topic)
        if not messages:
            return []
        start = max(0, after + 1 - messages[0][1].sequence)
        found, size = [], 0
        for _, message in itertools.islice(messages, start, None):
            found.append(message)
            size += len(message.payload)
            if read_ends(message.sequence, size):
                break
        return found

    async def names(self, after: str, limit: int) -> list[str]:
        """Return the names of topics with messages that come after ``after``."""
        return self._names.after(after, limit)

    async def topics(self, names: Sequence[str]) -> list[ListedTopic]:
        """Return the topics of these names that have messages."""
        listed = [ListedTopic(name, await self.bounds(name), self.epoch) for name in names]
        return [topic for topic in listed if not topic.bounds.is_empty()]

    def size_bytes(self) -> int:
        """Return the bytes of all payloads."""
        return self._bytes

    def wal_bytes(self) -> int:
        """Return 0: there is none in memory."""
        return 0

    def free_bytes(self) -> int:
        """Return 0: what is deleted is gone."""
        return 0

    def checkpoint_age_s(self) -> float:
        """Return 0: nothing waits."""
        return 0.0

    async def watch(self) -> None:
        """Return: memory can always be read."""

    def append_stall_s(self) -> float:
        """Return 0: nothing waits for memory."""
        return 0.0

    def oldest_append_age_s(self) -> float:
        """Return 0: an append is done at once."""
        return 0.0

    def clock_doubt(self) -> str | None:
        """Return why the clock is in doubt."""
        return self._retention.clock.doubt()

    def unavailable_reason(self) -> str | None:
        """Return None: memory is always available."""
        return None

    def _keep(self, publication: Publication) -> Receipt:
        topic = publication.topic
        receipt = publication.receipt(self.epoch, self._heads.get(topic, 0) + 1)
        messages = publication.messages(receipt.first)
        came_ns = self._retention.clock.monotonic_ns()
        if topic not in self._messages:
            self._names.add(topic)
        self._messages.setdefault(topic, deque()).extend((came_ns, each) for each in messages)
        self._bytes += publication.size_bytes()
        self._heads[topic] = receipt.last.sequence
        self._expire(topic)
        return receipt

    def _answer(self, publication: Publication, answer: Answer, receipt: Receipt) -> None:
        if not answer.done():
            answer.set_result(receipt)
        self._feeds.push_soon([(publication, receipt)])

    def _has_room(self) -> bool:
        """Return whether another topic may have messages."""
        if len(self._messages) < self._retention.topics:
            return True
        now = time.monotonic()
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_INTERVAL_S
            for topic in list(self._messages):
                self._expire(topic)
        return len(self._messages) < self._retention.topics

    def _expire(self, topic: str) -> Sequence[tuple[int, Message]]:
        """Forget what retention no longer covers, and return what is left."""
        messages = self._messages.get(topic)
        if messages is None:
            return ()
        oldest = self._retention.oldest_kept()
        # A clock that is set back must not keep messages longer.
        came_first = self._retention.clock.monotonic_ns() - self._retention.seconds * NANOSECONDS
        while messages:
            came_ns, message = messages[0]
            is_young = message.accepted_at >= oldest and came_ns >= came_first
            if is_young and len(messages) <= self._retention.messages:
                break
            messages.popleft()
            self._bytes -= len(message.payload)
        if not messages:
            del self._messages[topic]
            self._names.discard(topic)
        return messages
