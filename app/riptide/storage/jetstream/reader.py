"""Reads of topics: what there is, and where in the stream a number is."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from riptide.message import NANOSECONDS, MessageId
from riptide.storage.jetstream.engine import NoAnswerError
from riptide.storage.jetstream.heads import Head
from riptide.storage.jetstream.subjects import BARRIER
from riptide.storage.message_log import Bounds, IdState, ListedTopic, id_state, read_ends

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from riptide.message import Message
    from riptide.storage.jetstream.heads import Heads
    from riptide.storage.jetstream.leader_clock import LeaderClock
    from riptide.storage.jetstream.record import Record
    from riptide.storage.jetstream.stored_records import Stored, StoredRecords
    from riptide.storage.message_log import Retention

# A message is stored after it was accepted, by another clock, which may be behind by so much.
CLOCK_MARGIN_NS = 60 * NANOSECONDS
# Where reads have ended, so that the next one needs no search.
REMEMBERED_PLACES = 10_000
# A server is up to date within this time, unless it is cut off from the others.
BARRIER_PATIENCE_S = 2.0
BARRIER_PAUSE_S = 0.02


class _Read:
    """The messages of one read, from a number on, without those that were accepted too early."""

    def __init__(self, lowest: int, oldest_ns: int, clock: LeaderClock) -> None:
        self.messages: list[Message] = []
        self.last = lowest - 1
        self._lowest = lowest
        self._oldest_ns = oldest_ns
        self._clock = clock
        self._size = 0

    def take(self, record: Record) -> bool:
        """Take a record's messages; return whether the read ends in it."""
        for message in record.messages(self._clock.now_of(record.clock_offset_ns)):
            if message.sequence < self._lowest or message.accepted_at < self._oldest_ns:
                continue
            if self.messages and message.sequence != self.last + 1:
                return True
            self.messages.append(message)
            self.last = message.sequence
            self._size += len(message.payload)
            if read_ends(message.sequence, self._size):
                return True
        return False


class Reader:
    """Reads topics from the stream. All methods raise the errors of ``StoredRecords``."""

    def __init__(
        self,
        stored: StoredRecords,
        heads: Heads,
        retention: Retention,
        epoch: Callable[[], str],
        clock: LeaderClock,
    ) -> None:
        self._stored = stored
        self._heads = heads
        self._retention = retention
        self._epoch = epoch
        self._clock = clock
        # The number in the stream from which on the messages after a place are.
        self._places: dict[tuple[str, int], int] = {}

    async def head(self, topic: str) -> Head:
        """Return a topic's head, as the leader knows it."""
        return await self._head_of(topic, await self._stored.last(topic))

    async def _head_of(self, topic: str, last: Stored | None) -> Head:
        if last is None:
            return Head(MessageId(self._epoch(), 0), 0)
        if last.record is None:
            # Somebody else has written to the topic. What was before is still there.
            return await self._head_before(topic, last.sequence)
        head = Head(last.record.head, last.sequence)
        self._heads.note(topic, head)
        return head

    async def listed(self, topic: str, head: Head | None = None) -> ListedTopic:
        """Return the bounds of a topic, and the epoch of its newest message."""
        head = head or await self.head(topic)
        earliest = await self._earliest(topic, head)
        return ListedTopic(topic, Bounds(earliest, head.id.sequence), head.id.epoch)

    async def place(self, topic: str, position: MessageId) -> IdState:
        """Return whether a consumer can go on after an id."""
        sequence = position.sequence
        head = await self.head(topic)
        if sequence > head.id.sequence:
            head = await self._confirmed_head(topic)
        _, bounds, epoch = await self.listed(topic, head)
        state = id_state(position, bounds, bounds.head)
        if state is not IdState.KNOWN or sequence == 0:
            return state
        if sequence == bounds.head:
            return state if epoch == position.epoch else IdState.NEVER
        if sequence < bounds.earliest:
            # Its message has expired, and with it the proof that it was this one.
            return state
        found = await self.find(topic, sequence)
        record = None if found is None else found.record
        if record is None or record.first > sequence:
            return IdState.EXPIRED
        return state if record.epoch == position.epoch else IdState.NEVER

    async def read(self, topic: str, after: int) -> list[Message]:
        """Return the messages that follow a number."""
        head = self._heads.get(topic)
        if head is None or after >= head.id.sequence:
            head = await self.head(topic)
        if after >= head.id.sequence:
            return []
        lowest = max(after + 1, self._retention.first_kept(head.id.sequence))
        start = self._places.get((topic, lowest - 1))
        if start is None:
            found = await self.find(topic, lowest)
            if found is None:
                return []
            start = found.sequence
        read = _Read(lowest, self._retention.oldest_kept(), self._clock)
        while read.last < head.id.sequence and (records := await self._records(topic, start)):
            for stored in records:
                if stored.record is not None and read.take(stored.record):
                    return self._ended(topic, read, stored.sequence)
                start = stored.sequence + 1
        return self._ended(topic, read, start)

    async def _records(self, topic: str, start: int) -> list[Stored]:
        """Return messages from a number of the stream on, by the leader if others have none."""
        records = await self._stored.several(topic, start)
        if records:
            return records
        following = await self._stored.next(topic, start)
        return [] if following is None else [following]

    def _ended(self, topic: str, read: _Read, sequence: int) -> list[Message]:
        """Remember where a read has ended, and return what was read."""
        if read.messages:
            self._places[topic, read.last] = sequence
            if len(self._places) > REMEMBERED_PLACES:
                del self._places[next(iter(self._places))]
        return read.messages

    def forget(self) -> None:
        """Forget where numbers are: the stream has gone back."""
        self._places.clear()

    async def topics(self, names: Sequence[str]) -> list[ListedTopic]:
        """Return those of these topics that have messages."""
        found = []
        lasts = await self._stored.lasts(names)
        for name in names:
            last = lasts.get(name)
            if last is None or last.record is None:
                continue
            listed = await self.listed(name, Head(last.record.head, last.sequence))
            if not listed.bounds.is_empty():
                found.append(listed)
        return found

    async def with_messages(self, names: Sequence[str]) -> list[str]:
        """Return those of these topics whose newest message has not expired."""
        oldest = self._retention.oldest_kept()
        lasts = await self._stored.lasts(names)
        return [
            name
            for name in names
            if (last := lasts.get(name)) is not None
            and last.record is not None
            and last.record.accepted_at() >= max(oldest, 1)
        ]

    async def _confirmed_head(self, topic: str) -> Head:
        """Return a topic's head, with all that a majority of the servers had until now.

        A leader that others have replaced, and that has not noticed yet, answers with an older one.
        """
        barrier = await self._stored.put_barrier(self._epoch())
        deadline = time.monotonic() + BARRIER_PATIENCE_S
        while time.monotonic() < deadline:
            lasts = await self._stored.lasts([BARRIER, topic])
            if BARRIER in lasts and lasts[BARRIER].sequence >= barrier:
                return await self._head_of(topic, lasts.get(topic))
            await asyncio.sleep(BARRIER_PAUSE_S)
        raise NoAnswerError("the server that answers is behind the others")

    async def _head_before(self, topic: str, end: int) -> Head:
        """Return the newest record before a message of another program."""
        newest = Head(MessageId(self._epoch(), 0), 0)
        start = 1
        while start <= end and (messages := await self._stored.several(topic, start)):
            for stored in messages:
                if stored.record is not None:
                    newest = Head(stored.record.head, stored.sequence)
            start = messages[-1].sequence + 1
        return newest

    async def _earliest(self, topic: str, head: Head) -> int:
        """Return the number of the first message that has not expired; the head's next if none."""
        number = head.id.sequence
        if not number:
            return 1
        oldest = self._retention.oldest_kept()
        since = oldest - CLOCK_MARGIN_NS
        # The servers that answer may be behind the leader.
        records = await self._stored.first_since(topic, since) or await self._records(topic, 1)
        while records:
            for stored in records:
                if stored.record is None:
                    continue
                first = stored.record.first
                for part in stored.record.parts:
                    if part.accepted_at >= oldest:
                        return max(first, self._retention.first_kept(number))
                    first += part.length
            start = await self._behind_expired(topic, records[-1].sequence + 1, head, oldest)
            records = await self._records(topic, start)
        return number + 1

    async def _behind_expired(self, topic: str, start: int, head: Head, oldest_ns: int) -> int:
        """Return a number of the stream from which on records may have messages that are kept.

        A log that was moved into the stream was stored all at once, however old its messages are.
        """
        end = head.sequence
        while start < end:
            middle = (start + end) // 2
            found = await self._first(topic, middle)
            if found is None or found.record is None or found.sequence > end:
                end = middle
            elif found.record.accepted_at() < oldest_ns:
                # So has an empty record: it is written once all before it have expired.
                start = found.sequence + 1
            else:
                end = middle
        return start

    async def find(self, topic: str, number: int) -> Stored | None:
        """Return the record that has a number, or the first one behind if none has it any more."""
        low = await self._first(topic, 1)
        if low is None or low.record is None or low.record.first > number:
            return low
        head = self._heads.get(topic) or await self.head(topic)
        # The record is at ``low`` or behind it, and before ``end``.
        end, end_number = head.sequence + 1, head.id.sequence + 1
        behind: Stored | None = None
        by_share = True
        while low.record.head.sequence < number:
            first = low.record.first
            begin = low.sequence + 1
            if begin >= end:
                # Nothing is between: the number is in none of the records.
                return behind
            share = (number - first) / max(1, end_number - first)
            guess = begin + int((end - begin) * (share if by_share else 0.5))
            by_share = not by_share
            found = await self._first(topic, min(guess, end - 1))
            if found is None or found.record is None or found.record.first > number:
                end, behind = min(guess, end - 1), found
                if found is not None and found.record is not None:
                    end_number = found.record.first
            else:
                low = found
        return low

    async def _first(self, topic: str, sequence: int) -> Stored | None:
        """Return the first record of a topic from a number of the stream on."""
        while True:
            records = await self._stored.several(topic, sequence, 1)
            if not records:
                return await self._stored.next(topic, sequence)
            if records[0].record is not None:
                return records[0]
            sequence = records[0].sequence + 1
