"""Moves a log in SQLite into the stream. Each message keeps its epoch and its number.

So an id from before is known to every instance on the stream as it was to the service. A message
is stored behind the one before it by compare-and-set: a migration that was interrupted goes on
where it ended, and whatever else writes to a topic meanwhile ends it.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, NamedTuple, TypeVar, TypeVarTuple

from riptide.errors import MigrationError
from riptide.message import Acceptance, MessageId
from riptide.storage.jetstream.appender import NOT_THE_LAST
from riptide.storage.jetstream.engine import NoAnswerError, RefusedError
from riptide.storage.jetstream.life import Life
from riptide.storage.jetstream.moved_records import records_of, trace_of
from riptide.storage.jetstream.record import Record
from riptide.storage.jetstream.stored_records import HEADER_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from riptide.message import Message
    from riptide.storage.jetstream.stored_records import Stored, StoredRecords
    from riptide.storage.log_at_rest import LogAtRest, RestingTopic

# Topics that are written, or compared, at the same time. Each has one read of the log in memory,
# and holds the event loop up while it reads: with 16 on a busy machine, answers came too late.
TOPICS_AT_ONCE = 4
# Heads that are looked up at once.
HEADS_AT_ONCE = 1000
TRY_S, FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 0.02, 0.5

T = TypeVar("T")
Question = TypeVarTuple("Question")


class Moved(NamedTuple):
    """What a migration has moved, or what was found to be moved."""

    topics: int
    messages: int


class Migration:
    """From a log of a service that is stopped to a stream whose topics nobody writes to.

    ``advance`` is called with how many bytes and messages are done, again and again. The methods
    raise a ``MigrationError`` whose text says what to do.
    """

    def __init__(
        self,
        log: LogAtRest,
        stored: StoredRecords,
        *,
        timeout_s: float,
        advance: Callable[[int, int], object] = lambda _bytes, _messages: None,
    ) -> None:
        """``timeout_s`` is how long the servers may take to store a record."""
        self._log = log
        self._stored = stored
        self._timeout_s = timeout_s
        self.advance = advance
        life = Life()
        self._names = (f"{life.epoch}.{number}" for number in itertools.count(1))

    async def check(self) -> list[RestingTopic]:
        """Return the topics to move. Nothing is written.

        Raises:
            MigrationError: a topic of the stream has what is not of this log, or a message is
                larger than the servers take.

        """
        self._check_sizes()
        topics = list(self._log.topics())
        for start in range(0, len(topics), HEADS_AT_ONCE):
            some = topics[start : start + HEADS_AT_ONCE]
            lasts = await self._asked(self._stored.lasts, [topic.name for topic in some])
            for topic in some:
                self._check_end(topic, lasts.get(topic.name))
        return topics

    async def move(self, topics: Sequence[RestingTopic]) -> Moved:
        """Store what the stream does not have yet; return what was stored now.

        Raises:
            MigrationError: the servers do not store it, or somebody else writes to a topic.

        """
        return await self._for_all(topics, self._move)

    async def compare(self, topics: Sequence[RestingTopic]) -> Moved:
        """Read all back, and compare each message and each end with the log.

        Raises:
            MigrationError: something differs.

        """
        return await self._for_all(topics, self._compare)

    async def _for_all(
        self, topics: Sequence[RestingTopic], work: Callable[[RestingTopic], Awaitable[int]]
    ) -> Moved:
        waiting, counts = iter(topics), list[int]()

        async def work_on() -> None:
            for topic in waiting:
                counts.append(await work(topic))

        workers = [asyncio.create_task(work_on()) for _ in range(TOPICS_AT_ONCE)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return Moved(sum(1 for count in counts if count), sum(counts))

    def _check_sizes(self) -> None:
        largest, most = self._log.size().largest_bytes, self._stored.max_message_bytes()
        if largest > most:
            raise MigrationError(
                f"the log has a message of {largest:,} bytes, and the servers of NATS take those "
                f"of up to {most:,} (their max_payload, less what headers need): nothing was "
                f"moved; set max_payload to {largest + HEADER_BYTES} or more on all "
                "servers"
            )

    def _check_end(self, topic: RestingTopic, last: Stored | None) -> None:
        """Require that the end of a topic in the stream is one that this log has had."""
        if last is None:
            return
        if last.record is None:
            raise MigrationError(self._stored.foreign(topic.name, last.sequence))
        epoch, number = last.record.head
        known = topic.epoch_at(number)
        if number <= topic.bounds.head and (
            known == epoch or (known is None and self._log.knows(epoch))
        ):
            return
        raise MigrationError(
            f"topic {topic.name} of the stream ends with message {last.record.head}, which this "
            f"log does not have (its last one is {MessageId(topic.epoch, topic.bounds.head)}): "
            "the stream was written to by an instance, or is of another log; choose a new stream "
            "by RIPTIDE_JETSTREAM_STREAM. If this log was moved before, there is nothing to do"
        )

    async def _move(self, topic: RestingTopic) -> int:
        last = await self._asked(self._stored.last, topic.name)
        self._check_end(topic, last)
        after, number = 0, topic.bounds.earliest - 1
        if last is not None and last.record is not None:
            after = last.sequence
            number = max(number, last.record.head.sequence)
        end = 0 if last is None or last.record is None else last.record.head.sequence
        count = 0
        for messages in self._log.messages(topic.name, number):
            for record in records_of(messages, self._names):
                after = await self._store(topic.name, record, after)
                end = record.head.sequence
                count += len(record.payloads)
                self.advance(sum(map(len, record.payloads)), len(record.payloads))
        if end < topic.bounds.head:
            # Its last messages have expired, or are damaged: their numbers stay theirs.
            closing = Record(topic.epoch, topic.bounds.head + 1, next(self._names))
            await self._store(topic.name, closing, after)
        return count

    async def _store(self, topic: str, record: Record, after: int) -> int:
        """Store a record behind another one, also if answers are lost; return its number."""
        deadline = time.monotonic() + self._timeout_s
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                return await self._stored.store(topic, [record], after, timeout_s=TRY_S)
            except NoAnswerError as error:
                reason = str(error)
            except RefusedError as error:
                reason = str(error)
                if error.code == NOT_THE_LAST:
                    following = await self._asked(self._stored.next, topic, after + 1)
                    if following is not None:
                        if following.record is not None and (
                            following.record.writer == record.writer
                        ):
                            return following.sequence
                        raise MigrationError(
                            f"topic {topic} of the stream is being written to: end all instances "
                            "and other migrations, and run this one again into a new stream"
                        ) from error
            if time.monotonic() > deadline:
                raise MigrationError(
                    f"the servers of NATS have not stored a record for {self._timeout_s:.0f} s "
                    f"({reason}): run this again once they do, and it goes on where it ended"
                )
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _compare(self, topic: RestingTopic) -> int:
        ours = itertools.chain.from_iterable(
            self._log.messages(topic.name, topic.bounds.earliest - 1)
        )
        count, end = 0, MessageId("", 0)
        async for record in self._records(topic.name):
            end, size = record.head, 0
            for theirs in record.messages(Acceptance.now()):
                if theirs.sequence < topic.bounds.earliest:
                    # It has expired in the log since an earlier migration.
                    continue
                self._require_same(topic.name, next(ours, None), theirs)
                count, size = count + 1, size + len(theirs.payload)
            self.advance(size, len(record.payloads))
            # The connection has its turn, too.
            await asyncio.sleep(0)
        self._require_same(topic.name, next(ours, None), None)
        wanted = MessageId(topic.epoch, topic.bounds.head)
        if end != wanted:
            raise MigrationError(
                f"topic {topic.name} ends with {end} in the stream, and with {wanted} in the log"
            )
        return count

    def _require_same(self, topic: str, ours: Message | None, theirs: Message | None) -> None:
        if ours is None or theirs is None:
            if ours is theirs:
                return
            extra, place, other = (
                (theirs, "the stream", "the log")
                if ours is None
                else (ours, "the log", "the stream")
            )
            assert extra is not None  # noqa: S101  # they are not both None
            differing = f"message {extra.id} is in {place} and not in {other}"
        elif _content(ours) != _content(theirs):
            differing = f"message {ours.id} of the log is {theirs.id} in the stream, or differs"
        else:
            return
        raise MigrationError(
            f"topic {topic}: {differing}. Do not serve this stream: see that it has no limits "
            "(max_bytes, max_msgs) that delete messages, and move the log into a new one"
        )

    async def _records(self, topic: str) -> AsyncIterator[Record]:
        start = 1
        while True:
            found = await self._asked(self._stored.several, topic, start)
            if not found:
                # The server that answers may be behind the leader.
                following = await self._asked(self._stored.next, topic, start)
                if following is None:
                    return
                found = [following]
            for stored in found:
                if stored.record is None:
                    raise MigrationError(self._stored.foreign(topic, stored.sequence))
                yield stored.record
            start = found[-1].sequence + 1

    async def _asked(self, ask: Callable[[*Question], Awaitable[T]], *question: *Question) -> T:
        """Ask until there is an answer, or the time is over."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return await ask(*question)
            except (NoAnswerError, RefusedError) as error:
                if time.monotonic() > deadline:
                    raise MigrationError(
                        f"the stream cannot be read ({error}): run this again once it can, and it "
                        "goes on where it ended"
                    ) from error
            await asyncio.sleep(LONGEST_PAUSE_S)


def _content(message: Message) -> tuple[str, int, int, bytes, str]:
    return (
        message.epoch,
        message.sequence,
        message.accepted_at,
        message.payload,
        trace_of(message),
    )
