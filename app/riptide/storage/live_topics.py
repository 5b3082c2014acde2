"""Which topics have messages, and which of them have messages that are due to be deleted."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING, NamedTuple

from riptide.storage.future_messages import FutureMessages
from riptide.storage.topic_names import TopicNames

if TYPE_CHECKING:
    from collections.abc import Iterable

    from riptide.storage.message_log import Retention


class Earliest(NamedTuple):
    """The oldest message of a topic: its sequence number, and its time in Unix nanoseconds."""

    sequence: int
    accepted_at: int


class LiveTopic(NamedTuple):
    """A topic that has messages: the oldest one, and the sequence number of the newest one."""

    topic_id: int
    name: str
    earliest: Earliest
    head: int


class LiveTopics:
    """The topics that have messages, by id, and the order in which their messages expire.

    Names that have no messages cost nothing here, however many a log remembers.
    """

    def __init__(self, retention: Retention, topics: Iterable[LiveTopic] = ()) -> None:
        self._retention = retention
        self._topics: dict[int, LiveTopic] = {}
        topics = list(topics)
        # For all threads.
        self.names = TopicNames(topic.name for topic in topics)
        # Entries whose topic has another oldest message by now are passed over.
        self._by_age: list[tuple[int, int]] = []
        self._due: set[int] = set()
        self._aside: set[int] = set()
        self._future = FutureMessages(retention.clock, retention.seconds)
        self._times_set_back = retention.clock.times_set_back
        for topic in topics:
            self._note(topic)

    def __contains__(self, topic_id: int) -> bool:
        """Return whether the topic has messages."""
        return topic_id in self._topics

    def __len__(self) -> int:
        """Return how many topics have messages."""
        return len(self._topics)

    def update(self, topic: LiveTopic) -> None:
        """Note which messages a topic has."""
        if topic.topic_id not in self._topics:
            self.names.add(topic.name)
        self._note(topic)

    def grow(self, topic_id: int, head: int) -> None:
        """Note the newest message of a topic that has messages."""
        self.update(self._topics[topic_id]._replace(head=head))

    def first_kept(self, topic: LiveTopic) -> int:
        """Return the lowest sequence number that may stay, as far as the clock has no say in it."""
        by_count = self._retention.first_kept(topic.head)
        return max(by_count, self._future.first_kept(topic.topic_id))

    def due(self, oldest_kept: int, at_most: int) -> list[LiveTopic]:
        """Return topics with messages to delete. They stay due until they are settled."""
        while len(self._due) < at_most and self._by_age and self._by_age[0][0] < oldest_kept:
            accepted_at, topic_id = heapq.heappop(self._by_age)
            topic = self._topics.get(topic_id)
            if topic is not None and topic.earliest.accepted_at == accepted_at:
                self._due.add(topic_id)
        if self._times_set_back != self._retention.clock.times_set_back:
            self._times_set_back = self._retention.clock.times_set_back
            for topic in self._topics.values():
                self._look_at(topic)
        self._due.update(self._future.due())
        return [self._topics[topic_id] for topic_id in itertools.islice(self._due, at_most)]

    def settle(self, topic: LiveTopic, earliest: Earliest | None) -> None:
        """Note the oldest message that a deletion left; None if it left none."""
        self._due.discard(topic.topic_id)
        if earliest is None:
            del self._topics[topic.topic_id]
            self.names.discard(topic.name)
            self._future.forget(topic.topic_id)
        else:
            self.update(topic._replace(earliest=earliest))

    def put_aside(self, topic: LiveTopic) -> None:
        """Let a topic not be due until those that are put aside are taken back."""
        self._due.discard(topic.topic_id)
        self._aside.add(topic.topic_id)

    def take_back(self) -> None:
        """Let the topics that were put aside be due again."""
        self._due |= self._aside & self._topics.keys()
        self._aside.clear()

    def _note(self, topic: LiveTopic) -> None:
        known = self._topics.get(topic.topic_id)
        self._topics[topic.topic_id] = topic
        if known is None or known.earliest != topic.earliest:
            heapq.heappush(self._by_age, (topic.earliest.accepted_at, topic.topic_id))
            self._look_at(topic)
        too_many = topic.earliest.sequence < self.first_kept(topic)
        if too_many and topic.topic_id not in self._aside:
            self._due.add(topic.topic_id)

    def _look_at(self, topic: LiveTopic) -> None:
        """See whether the topic's oldest message is from beyond now."""
        sequence, accepted_at = topic.earliest
        if not self._future.knows(topic.topic_id, sequence):
            self._future.look(topic.topic_id, accepted_at, topic.head)
