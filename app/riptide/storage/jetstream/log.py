"""A log in a stream of NATS JetStream, which any number of instances share."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, TypeVar

from riptide.errors import LogUnavailableError, TooLargeError
from riptide.message import NANOSECONDS, Acceptance
from riptide.storage.damage import Damage
from riptide.storage.jetstream.appender import Appender
from riptide.storage.jetstream.engine import Engine, NoAnswerError, RefusedError
from riptide.storage.jetstream.follower import SWEEP_INTERVAL_S, SWEPT_AT_ONCE, Follower
from riptide.storage.jetstream.heads import Heads
from riptide.storage.jetstream.keeper import Keeper
from riptide.storage.jetstream.leader_clock import LeaderClock
from riptide.storage.jetstream.life import Life
from riptide.storage.jetstream.reader import Reader
from riptide.storage.jetstream.stored_records import StoredRecords
from riptide.storage.jetstream.stream import (
    NOT_YET,
    STREAM_NOT_FOUND,
    StreamState,
    find_or_create,
    look,
)
from riptide.storage.jetstream.subjects import Subjects
from riptide.storage.jetstream.topic_list import TopicList
from riptide.storage.message_log import RETRY_AFTER_S, Connection
from riptide_telemetry import GapSign, Lifecycle, MessageOrigin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from riptide.message import Message, MessageId, Receipt
    from riptide.publication import Publication
    from riptide.storage.jetstream.options import JetStreamOptions
    from riptide.storage.jetstream.record import Record
    from riptide.storage.message_log import (
        Answer,
        Bounds,
        Feed,
        IdState,
        ListedTopic,
        Retention,
    )

T = TypeVar("T")
logger = logging.getLogger("riptide.log")

# A connection is made anew within this time, if a server can be reached.
DISCONNECTED_S = 2.0
# An election of a leader takes 4 to 9 s (raft.go of nats-server).
NO_LEADER_S = 15.0
# So long do reads wait for it, and so often are they tried.
READ_PATIENCE_S, READ_PAUSE_S = 10.0, 0.2
# A server that is cut off from the others is left after this time without an answer for the stream
# or for an append, and the next after twice that, for it may be no fault of theirs.
OTHER_SERVER_S = 10.0
# A server that was the leader until now may answer with less than there is: so many looks in a row
# show that the stream has really gone back.
LOWER_LOOKS = 3


class JetStreamLog:
    """A ``MessageLog`` whose messages are kept by servers of NATS, by a majority of them.

    Each instance writes in lives of its own: an epoch is that of the instance which wrote a
    message, and there is a new one whenever it starts, or the stream is found to have gone back.
    """

    def __init__(
        self, options: JetStreamOptions, retention: Retention, lifecycle: Lifecycle | None = None
    ) -> None:
        self.damage = Damage()
        self._options = options
        self._retention = retention
        self._lifecycle = lifecycle or Lifecycle()
        self._life = Life()
        self._clock = LeaderClock()
        self._connection = Connection(is_up=False)
        self._behind = asyncio.Event()
        self._subjects = Subjects(options.stream)
        self._engine = Engine(options, self._behind.set)
        self._heads = Heads()
        self._stored = StoredRecords(self._engine, self._subjects)
        self._reader = Reader(
            self._stored, self._heads, retention, lambda: self._life.epoch, self._clock
        )
        self._topics = TopicList(self._engine, self._subjects, self._reader, retention)
        self._appender = Appender(
            self._stored,
            self._heads,
            self._life,
            self._topics.room,
            timeout_s=options.append_timeout_s,
            clock=self._clock,
            lifecycle=self._lifecycle,
        )
        self._follower = Follower(
            self._engine,
            self._stored,
            self._subjects,
            self._hear,
            self._connection,
        )
        self._keeper = Keeper(
            self._appender, self._reader, self._topics, retention, lambda: self._state
        )
        self._state = StreamState("", 0, 0, 0, None, 0.0)
        self._silent_since: float | None = None
        self._trouble = ""
        # After which time without an answer another server is tried.
        self._patience_s = OTHER_SERVER_S
        self._is_deleted = False
        self._lower_looks = 0
        self._looking: asyncio.Task[None] | None = None

    @property
    def connection(self) -> Connection:
        """How the servers have been reached."""
        # Servers that do not answer, or have no leader, are as good as none.
        self._connection.is_up = self._engine.lost_at is None and not self.unavailable_reason()
        self._connection.reconnects = self._engine.reconnects
        self._connection.lost_s = self._lost_s()
        self._connection.feed_lag_s = self._follower.lag_s()
        self._connection.clock_offset_s = (self._clock.offset_ns() or 0) / NANOSECONDS
        self._connection.clock_uncertainty_s = self._clock.uncertainty_ns() / NANOSECONDS
        return self._connection

    async def open(self) -> None:
        """Connect, and find the stream or create it.

        Raises:
            StartError: that is not possible; the text says what to do.

        """
        await self._engine.connect()
        try:
            self._state = await find_or_create(
                self._engine, self._options, self._subjects, self._retention
            )
        except BaseException:
            await self._engine.close()
            raise
        self._looking = asyncio.create_task(self._work_in_the_background())
        logger.info(
            "the log is the stream %s of NATS at %s: messages of up to %d bytes",
            self._options.stream,
            self._options.named_urls(),
            self.max_message_bytes,
        )

    async def close(self) -> None:
        """Wait for the appends that wait, then leave the servers."""
        await self._appender.close()
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking
        await self._engine.close()

    @property
    def max_message_bytes(self) -> int:
        """The bytes that a message may have for the servers."""
        return self._stored.max_message_bytes()

    def append(self, publication: Publication) -> asyncio.Future[Receipt]:
        """Write the payloads with the topic's next record."""
        done: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self.append_for(publication, done)
        return done

    def append_for(self, publication: Publication, answer: Answer) -> None:
        """Write the payloads with the topic's next record."""
        largest = max(map(len, publication.payloads), default=0)
        if largest > self.max_message_bytes:
            answer.set_exception(
                TooLargeError(
                    f"the message has {largest} bytes, and the servers of NATS take messages of up "
                    f"to {self.max_message_bytes} (their max_payload, less what headers need)"
                )
            )
            return
        self._appender.append(publication, answer)
        self._keeper.note_append(publication.topic)

    async def follow(self, topic: str, feed: Feed) -> ListedTopic:
        """Push the topic's messages to the feed from now on."""

        async def follow() -> ListedTopic:
            await self._follower.follow(topic, feed)
            head = await self._reader.head(topic)
            self._follower.begin(topic, head.id, head.sequence)
            return await self._reader.listed(topic, head)

        return await self._answered(follow)

    def unfollow(self, topic: str, feed: Feed) -> None:
        """Push nothing more of the topic to the feed."""
        self._follower.unfollow(topic, feed)

    def followed_count(self) -> int:
        """Return how many topics have feeds."""
        return len(self._follower)

    async def bounds(self, topic: str) -> Bounds:
        """Return which messages of the topic there are."""
        return (await self._answered(lambda: self._reader.listed(topic))).bounds

    async def place(self, topic: str, position: MessageId) -> IdState:
        """Return whether a consumer can go on after an id."""
        return await self._answered(lambda: self._reader.place(topic, position))

    async def read(self, topic: str, after: int) -> list[Message]:
        """Return the messages that follow ``after``."""
        return await self._answered(lambda: self._reader.read(topic, after))

    async def names(self, after: str, limit: int) -> list[str]:
        """Return the names of topics with messages that come after ``after``."""
        return await self._answered(lambda: self._topics.names(after, limit))

    async def topics(self, names: Sequence[str]) -> list[ListedTopic]:
        """Return the topics of these names that have messages."""
        return await self._answered(lambda: self._reader.topics(names))

    def size_bytes(self) -> int:
        """Return the size of the stream, which is the same for all instances."""
        return self._state.size_bytes

    def wal_bytes(self) -> int:
        """Return 0: there is no write-ahead log here."""
        return 0

    def free_bytes(self) -> int:
        """Return 0: the servers give room back themselves."""
        return 0

    def checkpoint_age_s(self) -> float:
        """Return 0: there are no checkpoints here."""
        return 0.0

    async def watch(self) -> None:
        """Wait until what looks after the stream ends by a fault, or until cancelled."""
        assert self._looking is not None  # noqa: S101  # the log is open
        await asyncio.shield(self._looking)

    def oldest_append_age_s(self) -> float:
        """Return how long the oldest append has waited."""
        return self._appender.under_way.age_s()

    def append_stall_s(self) -> float:
        """Return the longest time of the last minute in which appends waited for an answer."""
        return self._appender.under_way.longest_stall_s()

    def clock_doubt(self) -> str | None:
        """Return why the clock by which messages expire is in doubt."""
        return self._retention.clock.doubt()

    def unavailable_reason(self) -> str | None:
        """Return why the log cannot be written or read at the moment."""
        now = time.monotonic()
        lost_at = self._engine.lost_at
        if lost_at is not None:
            lost_s = now - lost_at
            if lost_s <= DISCONNECTED_S:
                return None
            return f"not connected to NATS at {self._options.named_urls()} for {lost_s:.0f} s"
        if self._silent_since is None:
            return None
        silent_s = now - self._silent_since
        if silent_s > (DISCONNECTED_S if self._is_deleted else NO_LEADER_S):
            return f"the stream has not answered for {silent_s:.0f} s ({self._trouble})"
        return None

    def _lost_s(self) -> float:
        """Return for how long there has been no connection, or no answer over it."""
        now = time.monotonic()
        since = self._engine.lost_at, self._silent_since
        return max(now - moment for moment in (now, *since) if moment is not None)

    async def _answered(self, read: Callable[[], Awaitable[T]]) -> T:
        """Return what is read, once the servers answer.

        Whoever reads while they elect a leader waits for it: a consumer elsewhere would be no
        better off.
        """
        deadline = time.monotonic() + READ_PATIENCE_S
        while True:
            try:
                return await read()
            except (NoAnswerError, RefusedError) as error:
                is_passing = isinstance(error, NoAnswerError) or error.code in NOT_YET
                is_over = time.monotonic() > deadline or self.unavailable_reason() is not None
                if is_over or not is_passing:
                    raise LogUnavailableError(
                        f"the message log cannot be read ({error}); try again later",
                        retry_after=RETRY_AFTER_S,
                    ) from error
            await asyncio.sleep(READ_PAUSE_S)

    def _hear(self, topic: str, record: Record, sequence: int) -> list[Message]:
        """Take what the stream has told of, and return its messages."""
        self._appender.hear(topic, record, sequence)
        if self._life.has_written(record):
            origin, now = MessageOrigin.HERE, Acceptance.now()
        else:
            origin, now = MessageOrigin.ELSEWHERE, self._clock.now_of(record.clock_offset_ns)
        messages = record.messages(now)
        self._lifecycle.log_heard(origin, [message.accepted_ns for message in messages])
        return messages

    async def _look(self) -> None:
        # What was seen before the question cannot be missing from the answer.
        seen, begun, asked_ns = self._heads.last_sequence, self._topics.begun, time.monotonic_ns()
        try:
            state = await look(self._engine, self._options.stream)
        except (NoAnswerError, RefusedError) as error:
            self._trouble = str(error)
            self._is_deleted = isinstance(error, RefusedError) and error.code == STREAM_NOT_FOUND
            self._silent_since = self._silent_since or time.monotonic()
            return
        self._silent_since = None
        if state.told_at_ns:
            self._clock.note(state.leader, state.told_at_ns, asked_ns)
        self._topics.note(state.topic_count, begun)
        if state.created == self._state.created and state.last_sequence >= seen:
            self._lower_looks = 0
            self._state = state
            return
        self._lower_looks += 1
        # No server that was the leader before tells of a stream that was created later.
        if self._lower_looks >= LOWER_LOOKS or state.created > self._state.created:
            self._begin_anew(seen, state)

    async def _try_another_server(self) -> None:
        """Leave a server that has not answered for too long.

        One that hears nothing of the others goes on as the leader for a while, and answers what it
        can alone: then the appends show it.
        """
        silent_s = 0.0
        if self._silent_since is not None and not self._is_deleted:
            silent_s = time.monotonic() - self._silent_since
        waited_s = max(silent_s, self.oldest_append_age_s())
        if waited_s > self._patience_s:
            self._patience_s *= 2
            await self._engine.change_server()
        elif waited_s < OTHER_SERVER_S:
            self._patience_s = OTHER_SERVER_S

    def _begin_anew(self, seen: int, state: StreamState) -> None:
        """Write in a new life: numbers that were given are given again, for other messages."""
        logger.error(
            "the stream %s has gone back, from its message %d to %d: consumers begin anew",
            self._options.stream,
            seen,
            state.last_sequence,
        )
        self._lower_looks = 0
        self._connection.resets += 1
        self._state = state
        self._life.begin_anew()
        self._heads.forget_all()
        self._reader.forget()
        self._follower.lose_all()

    async def _work_in_the_background(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look_again_and_again())
            tasks.create_task(self._keeper.run())

    async def _look_again_and_again(self) -> None:
        """Find out how the stream is and what was not heard, at once after a loss."""
        sign = GapSign.SWEEP
        while True:
            interval_s = SWEEP_INTERVAL_S * max(1.0, len(self._follower) / SWEPT_AT_ONCE)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval_s):
                    await self._behind.wait()
            if self._behind.is_set():
                sign = GapSign.RECONNECT
            self._behind.clear()
            await self._look()
            await self._try_another_server()
            with contextlib.suppress(NoAnswerError, RefusedError):
                await self._follower.sweep(sign)
                sign = GapSign.SWEEP
