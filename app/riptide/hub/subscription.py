"""A consumer's place in a topic: a cursor, and what happens when it is overtaken."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from riptide.hub.batch import Batch
from riptide.slow_consumers import SlowConsumerPolicy
from riptide_telemetry import DropReason, Source

if TYPE_CHECKING:
    from riptide.encoding.formats import Encoding
    from riptide.hub.fanout import Taker
    from riptide.hub.topic import Topic
    from riptide.storage.message_log import MessageLog


class Missed(NamedTuple):
    """Messages that this consumer will not get."""

    messages: int
    reason: DropReason


class Overrun(NamedTuple):
    """The consumer is too far behind and is to be disconnected; the log has what it missed.

    ``detail`` is what to tell it, where that is not that it fell off the ring.
    """

    behind: int
    detail: str = ""


class Finished(NamedTuple):
    """A finite replay has delivered all it promised."""


class Subscription:
    """A cursor on a topic: everything up to ``cursor`` is dealt with, the rest is queued.

    Conservation: ``offered == sent + dropped + queued`` at every instant, where ``offered``
    are the messages after ``start`` up to the topic's head (or ``until``).
    """

    __slots__ = (
        "_caught_up",
        "_log",
        "_policy",
        "_waiter",
        "cursor",
        "dropped",
        "encoding",
        "joined",
        "replay_until",
        "sent",
        "start",
        "taker",
        "topic",
        "until",
    )

    def __init__(  # noqa: PLR0913  # what a subscription is made of
        self,
        topic: Topic,
        log: MessageLog,
        encoding: Encoding,
        *,
        after: int,
        until: int | None,
        policy: SlowConsumerPolicy,
    ) -> None:
        self.topic = topic
        self.encoding = encoding
        self.start = self.cursor = after
        self.until = until
        # Messages up to here were published before the consumer came.
        self.replay_until = topic.head
        # Reached the ring: from now on the policy decides, until then the log catches up.
        self.joined = False
        # Was given all there was: from now on the age of what waits for it is its own doing.
        self._caught_up = False
        # Who is given what is new without being woken for it; set once the stream flows.
        self.taker: Taker | None = None
        self.sent = 0
        self.dropped = 0
        self._log = log
        self._policy = policy
        self._waiter: asyncio.Future[None] | None = None
        topic.subscriptions.add(self)

    @property
    def queued(self) -> int:
        """How many messages there are that this consumer has not been given yet."""
        return self._last() - self.cursor

    @property
    def offered(self) -> int:
        """How many messages this consumer was to be given since it came."""
        return self._last() - self.start

    @property
    def unaccounted(self) -> int:
        """What breaks the law of conservation; 0 unless Riptide is wrong."""
        return self.offered - self.sent - self.dropped - self.queued

    @property
    def parked(self) -> bool:
        """Whether its task waits in ``next``, and nobody has woken it."""
        return self._waiter is not None and not self._waiter.done()

    async def next(self) -> Batch | Missed | Overrun | Finished | None:
        """Return what comes next; wait for it if need be. None: woken for another reason.

        Raises:
            LogUnavailableError: older messages cannot be read.

        """
        topic = self.topic
        if self.until is not None and self.cursor >= self.until:
            return Finished()
        if self.cursor >= topic.head:
            self._caught_up = self.until is None
            await self._wait()
            return None
        oldest = self._oldest_owed()
        if self.cursor + 1 >= oldest:
            # A finite replay is never too slow: what leaves the ring it reads from the log.
            self.joined = self.until is None
            batch = topic.batch(self.encoding, self.cursor, self._step_end())
            self._caught_up |= self.joined and batch.last == topic.head
            return batch
        if self.joined:
            return self._overtaken(oldest)
        return await self._read()

    def advance(self, count: int, last: int) -> None:
        """Count messages as sent; the last one of them is the new cursor."""
        self.sent += count
        self.cursor = last

    def miss(self, cursor: int, reason: DropReason) -> Missed:
        """Give up everything up to ``cursor``, for the reason."""
        count = cursor - self.cursor
        self.dropped += count
        self.cursor = cursor
        return Missed(count, reason)

    def source(self) -> Source:
        """Say whether what comes next was published before this consumer came."""
        return Source.REPLAY if self.cursor < self.replay_until else Source.LIVE

    def wake(self) -> None:
        """Make ``next`` return, if it waits."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self) -> None:
        """Leave the topic."""
        self.taker = None
        self.topic.leave(self)

    def _last(self) -> int:
        if self.until is not None:
            return self.until
        # A consumer may bring the id of a message that is in the log and on its way to the ring.
        return max(self.topic.head, self.cursor)

    def _step_end(self) -> int:
        # A step lies on one side of the line between replay and live.
        if self.cursor < self.replay_until:
            return min(self.replay_until, self._last())
        return self._last()

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        self.topic.fan_out.wait(self)
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def _read(self) -> Batch | Missed:
        messages = await self._log.read(self.topic.name, self.cursor)
        # The rest is in the ring, whose tail may have moved meanwhile.
        end = min(self._step_end(), self.topic.tail - 1)
        first = messages[0].sequence if messages else end + 1
        if first > self.cursor + 1:
            return self.miss(min(first - 1, end), DropReason.EXPIRED)
        return Batch(self.encoding, [m for m in messages if m.sequence <= end])

    def _oldest_owed(self) -> int:
        """Return the first message that it is not too late for."""
        topic = self.topic
        if not (self.joined and self._caught_up):
            return topic.tail
        oldest = topic.oldest_young()
        # However old it is, the newest message is the latest state of things.
        return min(oldest, topic.head) if self._policy is SlowConsumerPolicy.LATEST else oldest

    def _overtaken(self, oldest: int) -> Missed | Overrun:
        topic = self.topic
        if self._policy is SlowConsumerPolicy.DISCONNECT:
            too_old = self.cursor + 1 >= topic.tail
            return Overrun(self.queued, topic.limits.too_old() if too_old else "")
        if self._policy is SlowConsumerPolicy.LATEST:
            return self.miss(topic.head - 1, DropReason.CONFLATED)
        return self.miss(oldest - 1, DropReason.SLOW_CONSUMER)
