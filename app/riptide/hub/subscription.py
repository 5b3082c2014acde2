"""A consumer's place in a topic: a cursor, and what happens when the ring overtakes it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from riptide.errors import DamagedMessagesError, LogUnavailableError
from riptide.hub.ground import Ground
from riptide.slow_consumers import SlowConsumerPolicy
from riptide_telemetry import DropReason, Source

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from riptide.encoding.formats import Encoding
    from riptide.hub.backlog import Backlog
    from riptide.hub.batch import Batch
    from riptide.hub.ring import Ring


T = TypeVar("T")

# A consumer that is behind by more messages takes turns with the others that are. Less is written
# as quickly as a turn is given.
FEW_MESSAGES = 64


class Taker(Protocol):
    """A consumer to which a batch can be written without waking its task."""

    def take(self, batch: Batch, now_ns: int) -> bool:
        """Write the batch now, or return False to leave it to the task. Never raises."""


class Dispatcher(Protocol):
    """Serves the subscriptions that have received everything and wait for more."""

    def wait(self, subscription: Subscription) -> None:
        """Serve or wake the subscription after the next push."""

    def leave(self, subscription: Subscription) -> None:
        """Forget the subscription."""

    def wrote(self, batch: Batch, now_ns: int) -> None:
        """Record a live batch that the consumer's own task has written."""


class Terms(NamedTuple):
    """The messages that a consumer is to be given, and the policy if it falls behind.

    The messages are those after sequence number ``after``, up to ``until`` (None: without an end).
    A consumer would resume before the first of them by an id of ``epoch``. ``resumed`` says that
    the consumer has read the topic before, and goes on from there.
    """

    after: int
    until: int | None
    policy: SlowConsumerPolicy
    epoch: str
    resumed: bool = False


class Missed(NamedTuple):
    """The number of messages that this consumer will not get, and why."""

    message_count: int
    reason: DropReason


class Overrun(NamedTuple):
    """The consumer is too far behind and is to be disconnected. The log has what it missed.

    ``detail`` is the text to send to the consumer, empty if it only fell off the ring.
    """

    message_count: int
    detail: str = ""


class Finished(NamedTuple):
    """A finite stream has delivered everything up to its end."""


class Subscription:
    """A cursor on a topic: everything up to ``cursor`` is sent or dropped, the rest is queued.

    Conservation: ``offered == sent + dropped + queued`` at every instant, where ``offered``
    are the messages after ``start`` up to the topic's head (or ``until``).
    """

    __slots__ = (
        "_backlog",
        "_began_ns",
        "_caught_up",
        "_dispatcher",
        "_ground",
        "_log_was_lost",
        "_owed_since_ns",
        "_policy",
        "_ring",
        "_waiter",
        "catching_up",
        "cursor",
        "dropped",
        "encoding",
        "epoch",
        "joined",
        "replay_until",
        "sent",
        "start",
        "taker",
        "until",
    )

    def __init__(
        self, ring: Ring, backlog: Backlog, dispatcher: Dispatcher, encoding: Encoding, terms: Terms
    ) -> None:
        self._ring = ring
        self._backlog = backlog
        self._dispatcher = dispatcher
        self.encoding = encoding
        self.start = self.cursor = terms.after
        # With the cursor, the id from which the consumer would resume.
        self.epoch = terms.epoch
        self.until = terms.until
        self._log_was_lost = False
        self._policy = terms.policy
        # Messages up to here were published before the consumer subscribed.
        self.replay_until = ring.head
        # True once the consumer reads from the ring; before, it reads from the log.
        self.joined = False
        # True once the consumer has received everything up to the head, or has failed to gain
        # ground on its way there. Only then does the policy apply at once to a consumer that falls
        # off the ring or that is owed old messages.
        self._caught_up = False
        # Followed while the consumer is behind and on its way to the head.
        self._ground: Ground | None = None
        # True while the consumer reads a topic for the first time and has gained ground so far, and
        # for all of a finite stream: nobody expects it to be at the head.
        self.catching_up = self.until is not None or (self.queued > 0 and not terms.resumed)
        self._began_ns = ring.now_ns()
        # The next message that the consumer is owed did not come before this moment.
        self._owed_since_ns = self._began_ns
        # The fan-out writes to the taker, if there is one, instead of waking the task. A session
        # that may write past ASGI sets it after the first batch.
        self.taker: Taker | None = None
        self.sent = 0
        self.dropped = 0
        self._waiter: asyncio.Future[None] | None = None

    @property
    def topic(self) -> str:
        """The name of the topic."""
        return self._backlog.topic

    @property
    def queued(self) -> int:
        """The number of messages that this consumer has not been given yet."""
        return self._last() - self.cursor

    @property
    def offered(self) -> int:
        """The number of messages that this consumer was to be given since it subscribed."""
        return self._last() - self.start

    @property
    def unaccounted(self) -> int:
        """The number of messages that break the law of conservation; 0 unless Riptide has a bug."""
        return self.offered - self.sent - self.dropped - self.queued

    @property
    def parked(self) -> bool:
        """Whether the consumer's task waits in ``next`` and has not been woken."""
        return self._waiter is not None and not self._waiter.done()

    async def next(self) -> Batch | Missed | Overrun | Finished | None:
        """Return what comes next. If there is nothing yet, wait to be woken and return None.

        Raises:
            LogUnavailableError: older messages cannot be read, or the log has lost messages.

        """
        ring = self._ring
        if self._log_was_lost:
            raise LogUnavailableError("the log has lost messages that this stream has had")
        if self.until is not None and self.cursor >= self.until:
            return Finished()
        if self.queued > FEW_MESSAGES and self.cursor + 1 >= ring.tail:
            await self._wait_for_service(self._backlog.take_turn(self.queued))
        if self.cursor >= ring.head:
            if self.until is None:
                self._reach_the_head()
            await self._wait()
            return None
        if self.until is None and not self._judged and self._has_lost_ground():
            # From now on the consumer is treated like one that had caught up and fell behind.
            self.joined = self._caught_up = True
        oldest = self._oldest_owed()
        if self.cursor + 1 >= oldest:
            # A finite stream is never too slow: it reads what has left the ring from the log.
            self.joined = self.until is None
            batch = ring.batch(self.encoding, self.cursor, self._step_end())
            if self.joined and batch.last == ring.head:
                self._reach_the_head()
            return batch
        if self._judged:
            return self._overtaken(oldest)
        return await self._read()

    def advance(self, batch: Batch, start: int = 0, end: int | None = None) -> None:
        """Count the messages of a batch from one position to another as sent; all by default."""
        end = batch.count if end is None else end
        self.sent += end - start
        self.cursor, self.epoch = batch.after + end, batch.epoch_at(end)
        self._next_is_no_older_than(batch.accepted_ns[end - 1])

    def was_given(self, batch: Batch) -> None:
        """Count a live batch, which the fan-out has written, as sent."""
        self.sent += batch.count
        self.cursor, self.epoch = batch.last, batch.epoch
        self.joined = True

    def wrote(self, batch: Batch, now_ns: int) -> None:
        """Count a live batch, which the consumer's own task has written, as sent."""
        self.sent += batch.count
        self.cursor, self.epoch = batch.last, batch.epoch
        self._dispatcher.wrote(batch, now_ns)

    def lag_ns(self) -> int:
        """Return for how long the next message has waited for this consumer, 0 if there is none.

        It is exact for a message in the ring. The time of a message further back is taken to be
        that of the message before it, so the lag is too long by the pause between the two. It is
        never less than the age of the oldest message in the ring.
        """
        ring = self._ring
        now_ns = ring.now_ns()
        if self.queued == 0:
            self._owed_since_ns = now_ns
            return 0
        arrived_ns = ring.arrived_ns(self.cursor + 1)
        if arrived_ns is not None:
            self._owed_since_ns = arrived_ns
            return now_ns - arrived_ns
        oldest_ns = ring.arrived_ns(ring.tail)
        return now_ns - min(self._owed_since_ns, now_ns if oldest_ns is None else oldest_ns)

    def rejoin_from_log(self) -> None:
        """Wake the task to read from the log.

        The policy applies again once the consumer reads the ring, or gains no ground on its way.
        """
        self.joined = False
        self.wake()

    def end_with_the_log(self) -> None:
        """Let ``next`` raise, because the log has lost messages."""
        self._log_was_lost = True
        self.wake()

    def miss(self, cursor: int, reason: DropReason) -> Missed:
        """Count everything up to ``cursor`` as dropped, for this reason."""
        count = cursor - self.cursor
        self.dropped += count
        # Ids up to the head are known of the life that the newest message is of.
        self.cursor, self.epoch = cursor, self._ring.epoch
        return Missed(count, reason)

    def source(self) -> Source:
        """Return whether the next message was published before or since the subscription began."""
        return Source.REPLAY if self.cursor < self.replay_until else Source.LIVE

    def wake(self) -> None:
        """Make ``next`` return, if a task waits in it."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self) -> None:
        """Leave the topic."""
        self.taker = None
        self._dispatcher.leave(self)

    @property
    def _judged(self) -> bool:
        """Whether the policy applies as soon as the consumer is too far behind."""
        return self.joined and self._caught_up

    def _last(self) -> int:
        if self.until is not None:
            return self.until
        # The consumer may have resumed after a message that the log has and the ring has not yet.
        return max(self._ring.head, self.cursor)

    def _step_end(self) -> int:
        # A batch is either replay or live, because it is recorded with one source.
        if self.cursor < self.replay_until:
            return min(self.replay_until, self._last())
        return self._last()

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        self._dispatcher.wait(self)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _next_is_no_older_than(self, accepted_ns: int) -> None:
        """Note when a message was accepted that is not newer than the next one.

        The log keeps the time of the wall clock, which may be set. What the monotonic clock has
        shown limits the error: messages published since the subscription began came since then.
        """
        if self.cursor >= self.replay_until:
            accepted_ns = max(accepted_ns, self._owed_since_ns, self._began_ns)
        self._owed_since_ns = accepted_ns

    def _reach_the_head(self) -> None:
        self._caught_up = True
        self._ground = None
        self.catching_up = False

    def _has_lost_ground(self) -> bool:
        """Return whether the consumer is too far behind and has not gained ground."""
        ring = self._ring
        now_ns, lag_ns = ring.now_ns(), self.lag_ns()
        if self._ground is None:
            self._ground = Ground(now_ns, self.queued, lag_ns)
        self._ground.look(now_ns, self.queued, lag_ns, ring.limits.age_s)
        self.catching_up &= self._ground.gained
        too_far = lag_ns > ring.limits.age_ns or (self.joined and self.cursor + 1 < ring.tail)
        # While the ring is empty nothing is published, and there is nothing to skip to.
        return too_far and not self._ground.gained and ring.tail <= ring.head

    async def _read(self) -> Batch | Missed:
        # The log has, or had, all messages up to here.
        in_log = min(self._step_end(), self._ring.tail - 1)
        try:
            chunk = await self._wait_for_service(self._backlog.read(self.cursor, self.queued))
        except DamagedMessagesError as damaged:
            return self._miss_damaged(damaged)
        if chunk is None:
            return self.miss(in_log, DropReason.EXPIRED)
        # The ring has the rest. Its tail may have moved while the log was read.
        end = min(self._step_end(), self._ring.tail - 1)
        self._next_is_no_older_than(chunk.first_accepted_ns)
        if chunk.first > self.cursor + 1:
            return self.miss(min(chunk.first - 1, end), DropReason.EXPIRED)
        return chunk.batch(self.encoding, end)

    def _miss_damaged(self, damaged: DamagedMessagesError) -> Missed:
        """Pass over damaged messages, or those before them, which have expired."""
        end = min(self._step_end(), self._ring.tail - 1)
        if damaged.first == self.cursor + 1:
            return self.miss(min(damaged.last, end), DropReason.DAMAGED)
        return self.miss(min(damaged.first - 1, end), DropReason.EXPIRED)

    async def _wait_for_service(self, service: Awaitable[T]) -> T:
        """Await what takes long while many consumers catch up, for which none is to blame."""
        began_ns = self._ring.now_ns()
        try:
            return await service
        finally:
            if self._ground is not None:
                self._ground.excuse(self._ring.now_ns() - began_ns)

    def _oldest_owed(self) -> int:
        """Return the lowest sequence number that the consumer may still be given."""
        ring = self._ring
        if not self._judged:
            return ring.tail
        oldest = ring.oldest_young()
        # Under ``latest`` the newest message is the present state, however old it is.
        return min(oldest, ring.head) if self._policy is SlowConsumerPolicy.LATEST else oldest

    def _overtaken(self, oldest: int) -> Missed | Overrun:
        ring = self._ring
        if self._policy is SlowConsumerPolicy.DISCONNECT:
            too_old = self.lag_ns() > ring.limits.age_ns
            return Overrun(self.queued, ring.limits.too_old() if too_old else "")
        if self._policy is SlowConsumerPolicy.LATEST:
            return self.miss(ring.head - 1, DropReason.CONFLATED)
        return self.miss(oldest - 1, DropReason.SLOW_CONSUMER)
