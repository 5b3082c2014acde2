"""The hub: publishers on one side, consumers on the other, the log underneath."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

from riptide.hub.subscription import Subscription
from riptide.hub.topic import RingLimits, Topic
from riptide.message import Edge, Message, MessageId
from riptide.slow_consumers import policy_for
from riptide_telemetry import DropReason, ReconnectionOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from riptide.encoding.formats import Encoding
    from riptide.message import Position
    from riptide.slow_consumers import SlowConsumerRule
    from riptide.storage.message_log import Bounds, ListedTopic, MessageLog
    from riptide_telemetry import Lifecycle

# Names that are asked of the log at once: its reader serves replays, too.
LISTED_AT_ONCE = 1000


class Receipt(NamedTuple):
    """What a publisher is told: the messages are in the log, under these ids."""

    first: MessageId
    last: MessageId


class Start(NamedTuple):
    """Where a subscription begins.

    ``reconnection`` is what became of the position that a returning consumer gave (None: it
    gave none), ``missed`` how many messages after it the log no longer has.
    """

    subscription: Subscription
    reconnection: ReconnectionOutcome | None
    missed: int


class TopicState(NamedTuple):
    """A topic that has messages: the id of the newest, how many are kept, and who reads it here."""

    name: str
    newest: MessageId
    messages: int
    consumers: int


class Hub:
    """Topics by name. A topic is in memory while it has consumers; the log has it always."""

    def __init__(
        self,
        log: MessageLog,
        lifecycle: Lifecycle,
        limits: RingLimits,
        slow_consumers: Sequence[SlowConsumerRule] = (),
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._log = log
        self._lifecycle = lifecycle
        self._limits = limits
        self._slow_consumers = slow_consumers
        self._clock_ns = clock_ns
        self._topics: dict[str, Topic] = {}
        self._pinned: dict[str, int] = {}
        self._pending_bytes = 0

    async def publish(self, name: str, payloads: Sequence[bytes], traceparent: str = "") -> Receipt:
        """Keep the payloads, all or none, and pass them on to the topic's consumers.

        They carry the trace of their publish with them. Once begun it happens even if the caller
        is cancelled.

        Raises:
            LogUnavailableError: nothing was kept, nobody was sent anything.

        """
        accepted_at, accepted_ns = time.time_ns(), time.monotonic_ns()
        receipt: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        size = sum(map(len, payloads))
        self._pending_bytes += size

        def deliver(appended: asyncio.Future[int]) -> None:
            # A callback of the log's future and no coroutine of ours: callbacks run in the
            # order of sequence numbers, and nobody can cancel them.
            self._pending_bytes -= size
            self._lifecycle.log_appended((time.monotonic_ns() - accepted_ns) / 1e9)
            error = appended.exception()
            if error is not None:
                if not receipt.cancelled():
                    receipt.set_exception(error)
                return
            first = appended.result()
            # The publisher's answer is scheduled before the fan-out is.
            if not receipt.cancelled():
                last = first + len(payloads) - 1
                epoch = self._log.epoch
                receipt.set_result(Receipt(MessageId(epoch, first), MessageId(epoch, last)))
            self._deliver(name, first, accepted_at, accepted_ns, payloads, traceparent)

        appended = self._log.append(name, payloads, accepted_at, traceparent)
        appended.add_done_callback(deliver)
        return await receipt

    async def subscribe(
        self, name: str, encoding: Encoding, position: Position, *, finite: bool
    ) -> Start:
        """Begin a subscription at a position; a finite one ends at what is now the head.

        Raises:
            LogUnavailableError: the log cannot be read.

        """
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = Topic(name, self._limits, self._lifecycle, self._clock_ns)
        self._pinned[name] = self._pinned.get(name, 0) + 1
        try:
            if position is Edge.LATEST and topic.loaded:
                return self._start(topic, encoding, topic.head, finite=finite)
            known = await self._known(name, position)
            bounds = await self._log.bounds(name)
            topic.advance_to(bounds.head)
            return self._locate(topic, encoding, position, bounds, known=known, finite=finite)
        finally:
            self._pinned[name] -= 1
            self._release(topic)

    async def list_topics(
        self, after: str, limit: int, wanted: Callable[[str], bool]
    ) -> tuple[list[TopicState], bool]:
        """Return topics after a name, in the order of names, and whether there may be more.

        Those that are wanted and have messages, at most so many.

        Raises:
            LogUnavailableError: the log cannot be read.

        """
        found: list[TopicState] = []
        while True:
            step = await self._log.topics(after, LISTED_AT_ONCE)
            for listed in step:
                if listed.bounds.earliest > listed.bounds.head or not wanted(listed.name):
                    continue
                if len(found) == limit:
                    return found, True
                found.append(self._state_of(listed))
            if len(step) < LISTED_AT_ONCE:
                return found, False
            after = step[-1].name
            # Others get their turn: there may be any number of names that are not wanted.
            await asyncio.sleep(0)

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; its topic leaves memory with the last one."""
        subscription.close()
        self._lifecycle.messages_unaccounted(subscription.unaccounted)
        self._release(subscription.topic)

    def cursor_id(self, subscription: Subscription) -> MessageId:
        """Return the id from which the consumer would resume."""
        return MessageId(self._log.epoch, subscription.cursor)

    def topics(self) -> int:
        """Return how many topics are in memory."""
        return len(self._topics)

    def queued_messages(self) -> int:
        """Return how many messages all consumers together have not been given yet."""
        return sum(self._queues())

    def consumer_lag(self) -> int:
        """Return how many messages the slowest consumer has not been given yet."""
        return max(self._queues(), default=0)

    def memory_bytes(self) -> int:
        """Return the bytes of all rings and of what is on its way into the log."""
        rings = sum(topic.memory_bytes() for topic in list(self._topics.values()))
        return rings + self._pending_bytes

    def _state_of(self, listed: ListedTopic) -> TopicState:
        name, bounds, epoch = listed
        topic = self._topics.get(name)
        return TopicState(
            name,
            MessageId(epoch, bounds.head),
            bounds.head - bounds.earliest + 1,
            len(topic.subscriptions) if topic else 0,
        )

    def _queues(self) -> list[int]:
        """Return the queue of each consumer that may have one; called from other threads."""
        topics = list(self._topics.values())
        return [
            subscription.queued for topic in topics for subscription in topic.fan_out.not_waiting()
        ]

    def _deliver(  # noqa: PLR0913, PLR0917  # what messages are made of
        self,
        name: str,
        first: int,
        accepted_at: int,
        accepted_ns: int,
        payloads: Sequence[bytes],
        traceparent: str,
    ) -> None:
        topic = self._topics.get(name)
        if topic is not None:
            epoch = self._log.epoch
            # What the ring has no room for would leave it at once, with all that is in it.
            skipped = max(0, len(payloads) - self._limits.messages)
            if skipped:
                topic.clear()
            topic.push(
                [
                    Message(epoch, sequence, accepted_at, accepted_ns, payload, traceparent)
                    for sequence, payload in enumerate(payloads[skipped:], first + skipped)
                ]
            )

    async def _known(self, name: str, position: Position) -> bool:
        """Return whether a position is one of this log's: not of another, nor of a lost future.

        Of this life of it, all are; those ahead of the head are seen later.
        """
        if isinstance(position, Edge) or position.epoch == self._log.epoch:
            return True
        end = await self._log.end_of(position.epoch, name)
        return end is not None and position.sequence <= end

    def _locate(  # noqa: PLR0913  # what a place is made of
        self,
        topic: Topic,
        encoding: Encoding,
        position: Position,
        bounds: Bounds,
        *,
        known: bool,
        finite: bool,
    ) -> Start:
        earliest = bounds.earliest - 1
        if position is Edge.LATEST:
            return self._start(topic, encoding, topic.head, finite=finite)
        if position is Edge.EARLIEST:
            return self._start(topic, encoding, earliest, finite=finite)
        # Ahead of everything there is no message that anybody could have seen.
        if not known or position.sequence > max(bounds.head, topic.head):
            start = self._start(topic, encoding, earliest, finite=finite)
            return start._replace(reconnection=ReconnectionOutcome.RESET)
        if position.sequence >= earliest:
            start = self._start(topic, encoding, position.sequence, finite=finite)
            return start._replace(reconnection=ReconnectionOutcome.RESUMED)
        start = self._start(topic, encoding, position.sequence, finite=finite, end=earliest)
        missed = start.subscription.miss(earliest, DropReason.EXPIRED).messages
        return start._replace(reconnection=ReconnectionOutcome.GAP, missed=missed)

    def _start(
        self, topic: Topic, encoding: Encoding, after: int, *, finite: bool, end: int = 0
    ) -> Start:
        # A finite stream ends at the head, or at its own cursor if the log is ahead of the ring.
        subscription = Subscription(
            topic,
            self._log,
            encoding,
            after=after,
            until=max(topic.head, after, end) if finite else None,
            policy=policy_for(topic.name, self._slow_consumers),
        )
        return Start(subscription, None, 0)

    def _release(self, topic: Topic) -> None:
        if not topic.subscriptions and not self._pinned.get(topic.name):
            self._topics.pop(topic.name, None)
            self._pinned.pop(topic.name, None)
            topic.clear()
