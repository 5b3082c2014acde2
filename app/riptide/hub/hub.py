"""The hub: publishers on one side, consumers on the other, the log underneath."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, NamedTuple

from riptide.hub.backlog import Backlog
from riptide.hub.log_reads import LogReads
from riptide.hub.right_of_way import RightOfWay
from riptide.hub.ring import Ring
from riptide.hub.subscription import Terms
from riptide.hub.topic import Topic
from riptide.hub.turns import Turns
from riptide.message import NANOSECONDS, Edge, MessageId
from riptide.process.faults import Faults
from riptide.slow_consumers import policy_for
from riptide.storage.message_log import IdState, uncertain
from riptide_telemetry import DropReason, ReconnectionOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from riptide.encoding.formats import Encoding
    from riptide.hub.ring import RingLimits
    from riptide.hub.stream_range import StreamRange
    from riptide.hub.subscription import Subscription
    from riptide.message import Position, Receipt
    from riptide.publication import Publication
    from riptide.slow_consumers import SlowConsumerRule
    from riptide.storage.message_log import Bounds, ListedTopic, MessageLog
    from riptide_telemetry import Lifecycle

# A publisher whose append takes longer is told that nobody knows what becomes of it. If another
# program has locked the log, SQLite gives up after 10 s, and that answer is a better one.
APPEND_TIMEOUT_S = 15.0
CHECK_INTERVAL_S = 1.0
# Topics of a list that are looked up at once. New subscriptions wait for these.
LISTED_AT_ONCE = 100


class Start(NamedTuple):
    """A new subscription, and what became of the position that its consumer gave.

    ``reconnection`` is None if the consumer gave no id. ``missed_count`` is the number of messages
    after that id which the log no longer has.
    """

    subscription: Subscription
    reconnection: ReconnectionOutcome | None = None
    missed_count: int = 0


class TopicState(NamedTuple):
    """A topic that has messages: the id of the newest one, and two counts.

    ``consumer_count`` is the number of this process's subscriptions to the topic.
    """

    name: str
    newest: MessageId
    message_count: int
    consumer_count: int


class Hub:
    """Passes messages from publishers through the log to the consumers of their topics.

    A topic is in memory only while it has consumers. Its messages are always in the log.
    """

    def __init__(  # noqa: PLR0913  # each is a part of its own
        self,
        log: MessageLog,
        lifecycle: Lifecycle,
        limits: RingLimits,
        slow_consumers: Sequence[SlowConsumerRule] = (),
        *,
        append_timeout_s: float = APPEND_TIMEOUT_S,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        faults: Faults | None = None,
    ) -> None:
        self._log = log
        self._lifecycle = lifecycle
        self._limits = limits
        self._slow_consumers = slow_consumers
        self._append_timeout_s = append_timeout_s
        self._clock_ns = clock_ns
        self._faults = faults or Faults()
        self._right_of_way = RightOfWay()
        self._reads = LogReads(log, self._right_of_way)
        # Of consumers of rings, which live messages need not wait for: they are some themselves.
        self._turns = Turns()
        self._topics: dict[str, Topic] = {}
        # The number of subscriptions to each topic that are being made: they keep it in memory.
        self._pinned: dict[str, int] = {}
        self._pending_bytes = 0
        # The publishers that wait, in the order of their appends.
        self._receipts: dict[asyncio.Future[Receipt], Publication] = {}

    async def publish(self, publication: Publication) -> Receipt:
        """Have the log keep the payloads, all or none; consumers get them by the topic's feed.

        Once begun, the publish completes even if the caller is cancelled.

        Raises:
            TopicLimitError: too many other topics have messages; nothing was kept.
            UncertainAppendError: it is not known whether the payloads were kept; the log has not
                answered for ``append_timeout_s``, for example.
            LogUnavailableError: nothing was kept, and nothing is sent to consumers.

        """
        receipt: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        size = publication.size_bytes()
        self._pending_bytes += size

        def finish(appended: asyncio.Future[Receipt]) -> None:
            self._pending_bytes -= size
            self._receipts.pop(receipt, None)
            self._right_of_way.give_back()
            waited_ns = time.monotonic_ns() - publication.accepted.monotonic_ns
            self._lifecycle.log_appended(waited_ns / 1e9)
            error = appended.exception()
            if receipt.done():
                return
            if error is None:
                receipt.set_result(appended.result())
            else:
                receipt.set_exception(error)

        appended = self._log.append(publication)
        self._right_of_way.take()
        self._receipts[receipt] = publication
        appended.add_done_callback(finish)
        return await receipt

    async def refuse_overdue(self) -> None:
        """Answer publishers for whom the log takes too long, until cancelled.

        Their appends go on, and what is kept in the end is sent to consumers.
        """
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            self._refuse_overdue(time.monotonic_ns())

    def _refuse_overdue(self, now_ns: int) -> None:
        # By the log's own clock: if only the event loop was slow, the answers are on their way.
        limit_s = self._append_timeout_s
        if self._log.oldest_append_age_s() <= limit_s:
            return
        overdue = []
        for receipt, publication in self._receipts.items():
            if now_ns - publication.accepted.monotonic_ns < limit_s * NANOSECONDS:
                break
            overdue.append(receipt)
        self._refuse(overdue, f"the log has not answered for {limit_s:.0f} s")

    def refuse_waiting(self) -> None:
        """Answer all publishers that wait for the log, because the process ends."""
        self._refuse(list(self._receipts), "the service ends before its log has answered")

    def _refuse(self, receipts: Iterable[asyncio.Future[Receipt]], reason: str) -> None:
        for receipt in receipts:
            del self._receipts[receipt]
            if not receipt.done():
                receipt.set_exception(uncertain(reason))

    async def subscribe(self, name: str, encoding: Encoding, wanted: StreamRange) -> Start:
        """Begin a subscription. A finite one ends at the topic's present head.

        Raises:
            LogUnavailableError: the log cannot be read.

        """
        topic = self._topics.get(name)
        if topic is None:
            ring = Ring(self._limits, self._clock_ns)
            backlog = Backlog(self._reads, self._turns, name)
            topic = Topic(ring, backlog, self._lifecycle, self._faults)
            self._topics[name] = topic
        self._pinned[name] = self._pinned.get(name, 0) + 1
        try:
            if wanted.position is Edge.LATEST and topic.ring.loaded:
                return Start(self._begin(topic, encoding, wanted, topic.ring.head))
            known = await self._known(name, wanted.position)
            _, bounds, epoch = await self._log.follow(name, topic)
            topic.ring.advance_to(bounds.head, epoch)
            return self._locate(topic, encoding, wanted, bounds, known=known)
        finally:
            self._pinned[name] -= 1
            self._release(topic)

    async def list_topics(
        self, after: str, limit: int, wanted: Callable[[str], bool]
    ) -> tuple[list[TopicState], bool]:
        """Return topics after a name, in the order of names, and whether there may be more.

        These are at most ``limit`` topics, all of which have messages and a ``wanted`` name.

        Raises:
            LogUnavailableError: the log cannot be read.

        """
        found: list[TopicState] = []
        while len(found) <= limit:
            names = await self._log.names(after, LISTED_AT_ONCE)
            if not names:
                return found, False
            after, missing = names[-1], limit + 1 - len(found)
            chosen = list(itertools.islice(filter(wanted, names), missing))
            if len(chosen) == missing:
                # The names behind may be needed, for these may have lost their messages by now.
                after = chosen[-1]
            if chosen:
                found += map(self._state_of, await self._log.topics(chosen))
            # Let other tasks run, because any number of names in a row may be unwanted.
            await asyncio.sleep(0)
        return found[:limit], True

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription. Its topic leaves memory with the last one."""
        topic = self._topics[subscription.topic]
        topic.unsubscribe(subscription)
        self._lifecycle.messages_unaccounted(subscription.unaccounted)
        self._release(topic)

    def cursor_id(self, subscription: Subscription) -> MessageId:
        """Return the id from which the consumer would resume."""
        return MessageId(subscription.epoch, subscription.cursor)

    def topic_count(self) -> int:
        """Return how many topics are in memory."""
        return len(self._topics)

    def queued_messages(self) -> int:
        """Return how many messages all consumers together have not been given yet."""
        return sum(self._queues())

    def consumer_lag(self) -> int:
        """Return how many messages the slowest consumer has not been given yet."""
        return max(self._queues(), default=0)

    def memory_bytes(self) -> int:
        """Return the bytes of all rings, of what was read, and of payloads not yet in the log."""
        rings = sum(topic.ring.memory_bytes() for topic in list(self._topics.values()))
        return rings + self._reads.memory_bytes() + self._pending_bytes

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
        """Return the queue lengths of consumers that may have a queue. Any thread may call this."""
        topics = list(self._topics.values())
        return [subscription.queued for topic in topics for subscription in topic.behind()]

    async def _known(self, name: str, position: Position) -> bool:
        """Return whether a position belongs to this log, not to another or to a lost end of it."""
        if isinstance(position, Edge):
            return True
        return await self._log.place(name, position) is not IdState.NEVER

    def _locate(
        self, topic: Topic, encoding: Encoding, wanted: StreamRange, bounds: Bounds, *, known: bool
    ) -> Start:
        position, before_earliest = wanted.position, bounds.earliest - 1
        if position is Edge.LATEST:
            return Start(self._begin(topic, encoding, wanted, topic.ring.head))
        if position is Edge.EARLIEST:
            return Start(self._begin(topic, encoding, wanted, before_earliest))
        if not known:
            subscription = self._begin(topic, encoding, wanted, before_earliest)
            return Start(subscription, ReconnectionOutcome.RESET)
        if position.sequence >= before_earliest:
            subscription = self._begin(topic, encoding, wanted, position.sequence)
            return Start(subscription, ReconnectionOutcome.RESUMED)
        subscription = self._begin(
            topic, encoding, wanted, position.sequence, least_end=before_earliest
        )
        missed = subscription.miss(before_earliest, DropReason.EXPIRED)
        return Start(subscription, ReconnectionOutcome.GAP, missed.message_count)

    def _begin(
        self,
        topic: Topic,
        encoding: Encoding,
        wanted: StreamRange,
        after: int,
        *,
        least_end: int = 0,
    ) -> Subscription:
        # A finite stream ends at the ring's head, but not before its own start: the log may be
        # ahead of the ring.
        until = max(topic.ring.head, after, least_end) if wanted.finite else None
        policy = policy_for(topic.name, self._slow_consumers)
        # A consumer that was reset reads the topic anew.
        position = wanted.position
        resumed, epoch = False, topic.ring.epoch
        if isinstance(position, MessageId) and position.sequence == after:
            resumed, epoch = True, position.epoch
        return topic.subscribe(encoding, Terms(after, until, policy, epoch, resumed))

    def _release(self, topic: Topic) -> None:
        if not topic.subscriptions and not self._pinned.get(topic.name):
            if self._topics.pop(topic.name, None) is not None:
                self._log.unfollow(topic.name, topic)
            self._pinned.pop(topic.name, None)
