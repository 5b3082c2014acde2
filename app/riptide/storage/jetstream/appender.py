"""Writes what instances publish to the stream: each record after the one that it follows.

Each topic has one writer here. A record says which one it follows, and the stream refuses it if
another instance was quicker, so that the numbers of each topic have no gap, whoever publishes. If
there is no answer, the record that does follow tells whether this one was stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import itertools
import logging
import random
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from riptide.errors import LogUnavailableError, TopicLimitError
from riptide.message import MessageId
from riptide.storage.jetstream.engine import NoAnswerError, RefusedError
from riptide.storage.jetstream.heads import Head
from riptide.storage.jetstream.leader_clock import LeaderClock
from riptide.storage.jetstream.record import MAX_PARTS, Part, Record
from riptide.storage.log_watch import UnorderedAppends
from riptide.storage.message_log import RETRY_AFTER_S, uncertain
from riptide_telemetry import Lifecycle, RecordOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from riptide.errors import ProblemError
    from riptide.publication import Publication
    from riptide.storage.jetstream.heads import Heads
    from riptide.storage.jetstream.life import Life
    from riptide.storage.jetstream.stored_records import StoredRecords
    from riptide.storage.message_log import Answer

logger = logging.getLogger("riptide.log")

RECORD_BYTES = 256 * 1024
# The stream does not end in the record that this one follows.
NOT_THE_LAST = 10071
# The same, while another record to the topic is under way in the servers.
IN_PROCESS = 10164
IN_PROCESS_PAUSE_S = 0.005
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.5
# After which a try is repeated.
TRY_S, SHORTEST_TRY_S = 2.0, 0.05
# Another's record comes by the feed within this time, or is asked for.
FEED_PATIENCE_S = 0.1
# After a record of another instance, its topic is thought to have several writers.
CONTENDED_S = 2.0
# Who has stored a record waits for so many times as long as that took.
PAUSE_OF_WRITES = 0.5, 1.5


class Waiting(NamedTuple):
    """A publication, who waits for its answer until when, and a number of its own.

    ``deadline`` is on the monotonic clock.
    """

    publication: Publication
    answer: Answer
    number: int
    deadline: float


class _Group:
    """Publications of a topic that are written as one record."""

    def __init__(self, waiting: Sequence[Waiting], under_way: UnorderedAppends) -> None:
        self.waiting = waiting
        self.is_answered = False
        self._under_way = under_way

    def records(
        self, epoch: str, first: int, names: Iterator[str], clock_offset_ns: int | None
    ) -> list[Record]:
        """Return the records to write: one, unless a single publication is larger."""
        publications = [each.publication for each in self.waiting]
        records = []
        for parts, payloads in _portions(publications):
            records.append(Record(epoch, first, next(names), parts, payloads, clock_offset_ns))
            first += len(payloads)
        return records

    def keep(self, record: Record) -> None:
        """Answer the publishers, unless that was done."""
        if self.is_answered:
            return
        self._end()
        number = record.first
        for publication, answer, _, _ in self.waiting:
            receipt = publication.receipt(record.epoch, number)
            number = receipt.last.sequence + 1
            if not answer.done():
                answer.set_result(receipt)

    def refuse(self, error: ProblemError) -> None:
        """Answer the publishers with an error, unless they have an answer."""
        if self.is_answered:
            return
        self._end()
        for each in self.waiting:
            if not each.answer.done():
                # Each of its own, for whoever raises it adds a traceback.
                each.answer.set_exception(copy.copy(error))

    def _end(self) -> None:
        self.is_answered = True
        self._under_way.end(each.number for each in self.waiting)


class Appender:
    """The writers of the topics that are written to at the moment.

    The first record of a topic is stored in a context of ``room``, which raises a
    ``TopicLimitError`` if there is none. ``clock`` is that by which publishers' messages are
    accepted, and ``lifecycle`` is told what becomes of records.
    """

    def __init__(  # noqa: PLR0913  # each is a part of its own
        self,
        stored: StoredRecords,
        heads: Heads,
        life: Life,
        room: Callable[[], AbstractAsyncContextManager[None]],
        *,
        timeout_s: float,
        clock: LeaderClock | None = None,
        lifecycle: Lifecycle | None = None,
    ) -> None:
        self.stored = stored
        self.heads = heads
        self.life = life
        self.room = room
        self.timeout_s = timeout_s
        self.clock = clock or LeaderClock()
        self.lifecycle = lifecycle or Lifecycle()
        self.under_way = UnorderedAppends()
        self._numbers = itertools.count(1)
        self._queues: dict[str, deque[Waiting]] = {}
        self._writers: set[asyncio.Task[None]] = set()
        # Records that were sent and not answered, by their writers' names.
        self._sent: dict[str, _Write] = {}
        self._listening: dict[str, asyncio.Event] = {}
        # By topic, until when other instances are thought to write to it as well.
        self._contended: dict[str, float] = {}

    def append(self, publication: Publication, answer: Answer) -> None:
        """Write a publication with the next record of its topic."""
        topic = publication.topic
        deadline = time.monotonic() + self.timeout_s
        waiting = Waiting(publication, answer, next(self._numbers), deadline)
        self.under_way.begin(waiting.number)
        queue = self._queues.get(topic)
        if queue is not None:
            queue.append(waiting)
            return
        self._queues[topic] = deque([waiting])
        task = asyncio.create_task(self._write(topic))
        self._writers.add(task)
        task.add_done_callback(self._writers.discard)

    def hear(self, topic: str, record: Record, sequence: int) -> None:
        """Take a record that the stream has told of: it is stored, also if no answer has come."""
        self.heads.note(topic, Head(record.head, sequence))
        sent = self._sent.get(record.writer)
        if sent is not None:
            sent.group.keep(record)
        heard = self._listening.get(topic)
        if heard is not None:
            heard.set()

    async def close(self) -> None:
        """Wait for what is being written. Then nobody waits for an answer any more."""
        writers = tuple(self._writers)
        if writers:
            await asyncio.wait(writers, timeout=self.timeout_s)
        for task in writers:
            task.cancel()
        await asyncio.gather(*writers, return_exceptions=True)

    def names(self) -> Iterator[str]:
        """Yield names that no other record has."""
        while True:
            yield f"{self.life.epoch}.{next(self._numbers)}"

    @contextlib.contextmanager
    def sending(self, record: Record, write: _Write) -> Iterator[None]:
        """Hear of a record within this context."""
        self._sent[record.writer] = write
        try:
            yield
        finally:
            del self._sent[record.writer]

    async def wait_for_another(self, topic: str, after: int) -> None:
        """Wait for the record of another instance, which was quicker, or have it looked up."""
        self._note_contention(topic)
        heard = self._listening[topic] = asyncio.Event()
        try:
            head = self.heads.get(topic)
            if head is None or head.sequence <= after:
                async with asyncio.timeout(FEED_PATIENCE_S):
                    await heard.wait()
        except TimeoutError:
            self.heads.forget(topic)
        finally:
            del self._listening[topic]

    async def _write(self, topic: str) -> None:
        queue = self._queues[topic]
        try:
            while queue:
                group = _Group(_take(queue), self.under_way)
                write = _Write(self, topic, group)
                try:
                    await write.run()
                finally:
                    # Unless they have their answer, this instance ends.
                    group.refuse(uncertain("who was writing it has ended"))
                await self._let_others_write(topic, write.took_s)
        finally:
            del self._queues[topic]
            _Group(queue, self.under_way).refuse(_unavailable("who was writing before has ended"))

    def _note_contention(self, topic: str) -> None:
        now = time.monotonic()
        self._contended.pop(topic, None)
        self._contended[topic] = now + CONTENDED_S
        # The oldest are first.
        while self._contended[oldest := next(iter(self._contended))] < now:
            del self._contended[oldest]

    async def _let_others_write(self, topic: str, write_s: float) -> None:
        """Pause if others write to the topic as well.

        Who has just stored a record knows first what to store the next one behind, and would win
        again and again.
        """
        if self._contended.get(topic, 0) > time.monotonic():
            await asyncio.sleep(write_s * random.uniform(*PAUSE_OF_WRITES))  # noqa: S311  # no secret


class _Write:
    """The tries to store a group of publications as the next record of their topic."""

    def __init__(self, appender: Appender, topic: str, group: _Group) -> None:
        self.group = group
        self._appender = appender
        self._topic = topic
        # Of the one who has waited for the longest time.
        self._deadline = group.waiting[0].deadline
        # Why the last try failed, and whether a record may be stored all the same.
        self._reason = "others before it had no success"
        self._is_unsure = False
        # The next try is another one of the same record.
        self._has_failed = False
        # How long the last try took that had success.
        self.took_s = 0.0

    async def run(self) -> None:
        """Try until the record is stored, or the time is over."""
        pause_s = FIRST_PAUSE_S
        while not self.group.is_answered and time.monotonic() < self._deadline:
            try:
                async with asyncio.timeout(max(SHORTEST_TRY_S, self._deadline - time.monotonic())):
                    head = await self._head()
                is_new = head.sequence == 0
                async with self._appender.room() if is_new else contextlib.nullcontext():
                    first = head.id.sequence + 1
                    epoch = self._appender.life.epoch_for(self._topic, first)
                    offset_ns = self._appender.clock.offset_ns()
                    records = self.group.records(epoch, first, self._appender.names(), offset_ns)
                    with self._appender.sending(records[0], self):
                        await self._store_and_note(records, head.sequence)
            except TopicLimitError as error:
                self.group.refuse(error)
                return
            except TimeoutError:
                self._reason = "the topic's newest message could not be looked up"
                break
            except (NoAnswerError, RefusedError) as error:
                self._reason = str(error)
            else:
                # Stored, or another was quicker.
                pause_s = FIRST_PAUSE_S
                continue
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311  # no secret
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        self._give_up()

    async def _head(self) -> Head:
        """Return the head that the next record follows."""
        known = self._appender.heads.get(self._topic)
        if known is not None:
            return known
        last = await self._appender.stored.last(self._topic)
        if last is None:
            return Head(MessageId(self._appender.life.epoch, 0), 0)
        if last.record is None:
            raise RefusedError(0, self._appender.stored.foreign(self._topic, last.sequence))
        head = Head(last.record.head, last.sequence)
        self._appender.heads.note(self._topic, head)
        return head

    async def _store_and_note(self, records: Sequence[Record], after: int) -> None:
        try:
            await self._store(records, after)
        finally:
            if self.group.is_answered or self._is_unsure:
                last = records[-1].head
                self._appender.life.note(self._topic, last.epoch, last.sequence)

    async def _store(self, records: Sequence[Record], after: int) -> None:
        """Have records stored behind another one, or find out that another's follows that.

        While it is not known whether they are stored, the same ones are tried again.

        Raises:
            RefusedError: the servers do not store them.

        """
        pause_s = FIRST_PAUSE_S
        while not self.group.is_answered and time.monotonic() < self._deadline:
            try:
                await self._try(records, after)
            except NoAnswerError as error:
                self._reason, self._is_unsure = str(error), True
            except RefusedError as error:
                self._reason = str(error)
                if error.code == NOT_THE_LAST:
                    if await self._is_settled(records, after):
                        return
                elif error.code == IN_PROCESS:
                    pause_s = IN_PROCESS_PAUSE_S
                elif not self._is_unsure:
                    raise
            else:
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        if self.group.is_answered:
            # The stream has told of it.
            self._count(RecordOutcome.RECOVERED, records)

    async def _try(self, records: Sequence[Record], after: int) -> None:
        if self._has_failed:
            self._count(RecordOutcome.RETRIED, records)
        self._has_failed = True
        began_at = time.monotonic()
        timeout_s = max(SHORTEST_TRY_S, min(TRY_S, self._deadline - began_at))
        sequence = await self._appender.stored.store(
            self._topic, records, after, timeout_s=timeout_s
        )
        self.took_s = time.monotonic() - began_at
        self._appender.lifecycle.log_written(self.took_s)
        self._count(RecordOutcome.STORED, records)
        self._keep(records, sequence)

    async def _is_settled(self, records: Sequence[Record], after: int) -> bool:
        """Return whether it is known which record follows: this one, of an earlier try, or not."""
        if self._is_unsure:
            try:
                following = await self._appender.stored.next(self._topic, after + 1)
            except (NoAnswerError, RefusedError) as error:
                self._reason = str(error)
                return False
            if following is None:
                self._reason = "what follows in the stream cannot be found"
                return False
            if following.record is not None and following.record.writer == records[0].writer:
                # All of them are stored, or none.
                self._count(RecordOutcome.RECOVERED, records)
                self._keep(records, following.sequence + len(records) - 1)
                return True
        # It was not stored, and never will be.
        self._is_unsure = self._has_failed = False
        self._count(RecordOutcome.CONFLICT, records)
        await self._appender.wait_for_another(self._topic, after)
        return True

    def _keep(self, records: Sequence[Record], sequence: int) -> None:
        self._appender.heads.note(self._topic, Head(records[-1].head, sequence))
        self.group.keep(records[0])

    def _give_up(self) -> None:
        if self.group.is_answered:
            return
        logger.error("%d appends had no success: %s", len(self.group.waiting), self._reason)
        outcome, error = RecordOutcome.FAILED, _unavailable(self._reason)
        if self._is_unsure:
            outcome, error = RecordOutcome.UNCERTAIN, uncertain(self._reason)
        self._appender.lifecycle.log_record(outcome)
        self.group.refuse(error)

    def _count(self, outcome: RecordOutcome, records: Sequence[Record]) -> None:
        self._appender.lifecycle.log_record(outcome, len(records))


def _unavailable(reason: str) -> LogUnavailableError:
    return LogUnavailableError(
        f"the message could not be kept ({reason}) and was not published; try again later",
        retry_after=RETRY_AFTER_S,
    )


def _portions(publications: Sequence[Publication]) -> Iterator[tuple[list[Part], list[bytes]]]:
    """Yield what each record has of publications that are written together."""
    parts: list[Part] = []
    payloads: list[bytes] = []
    size = 0
    for publication in publications:
        count, (accepted_at, _), traceparent = 0, publication.accepted, publication.traceparent
        for payload in publication.payloads:
            if payloads and size + len(payload) > RECORD_BYTES:
                if count:
                    parts.append(Part(count, accepted_at, traceparent))
                yield parts, payloads
                parts, payloads, size, count = [], [], 0, 0
            payloads.append(payload)
            size += len(payload)
            count += 1
        parts.append(Part(count, accepted_at, traceparent))
    yield parts, payloads


def _take(queue: deque[Waiting]) -> list[Waiting]:
    """Take what is written together: at least one publication."""
    taken, size = [queue.popleft()], 0
    size = taken[0].publication.size_bytes()
    while queue and len(taken) < MAX_PARTS:
        size += queue[0].publication.size_bytes()
        if size > RECORD_BYTES:
            break
        taken.append(queue.popleft())
    return taken
