from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riptide.message import NANOSECONDS, MessageId
from riptide.storage.jetstream import reader as reader_module
from riptide.storage.jetstream.engine import NoAnswerError
from riptide.storage.jetstream.heads import Heads
from riptide.storage.jetstream.leader_clock import LeaderClock
from riptide.storage.jetstream.reader import Reader
from riptide.storage.jetstream.record import Part, Record
from riptide.storage.jetstream.subjects import BARRIER
from riptide.storage.message_log import READ_BYTES, READ_MESSAGES, IdState, Retention
from tests.app.messages import EPOCH
from tests.app.storage.jetstream.fake_stream import FakeStream
from tests.app.storage.jetstream.records import make_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from riptide.storage.jetstream.stored_records import Stored

MINE = "11111111"
OTHER = "22222222"
FOR_EVER = Retention(10**9, 1e12)


def _reader(stream: FakeStream, retention: Retention = FOR_EVER) -> Reader:
    return Reader(stream, Heads(), retention, lambda: MINE, LeaderClock())


async def _sequences(reader: Reader, after: int = 0) -> list[int]:
    return [message.sequence for message in await reader.read("a", after)]


class Piece(NamedTuple):
    """A record of a stream, or a message of another program (``length`` is None)."""

    skip: int
    length: int | None
    missing: bool


pieces = st.builds(
    Piece,
    # Messages of other topics between: few, or very many.
    skip=st.integers(0, 2) | st.integers(0, 100_000),
    length=st.none() | st.integers(0, 3) | st.integers(0, 300),
    missing=st.sampled_from([False, False, False, True]),
)


def _uneven_stream(some: Sequence[Piece]) -> FakeStream:
    """Return a stream whose topic has these pieces, without those that are missing."""
    stream, number = FakeStream(), 1
    for skip, length, missing in some:
        record = None if length is None else make_record(number, length)
        stream.put("a", record, skip=skip)
        if missing:
            stream.topics["a"].pop()
        number += length or 0
    # The head is always there.
    stream.put("a", make_record(number, 1))
    return stream


@given(some=st.lists(pieces, max_size=25), data=st.data())
@settings(max_examples=200, deadline=None)
def test_the_record_of_a_number_is_found_or_the_next_one(
    some: list[Piece], data: st.DataObject
) -> None:
    stream = _uneven_stream(some)
    records = [(s.sequence, s.record) for s in stream.topics["a"] if s.record is not None]
    number = data.draw(st.integers(1, records[-1][1].head.sequence))
    wanted = next(s for s, record in records if record.head.sequence >= number)
    found = asyncio.run(_reader(stream).find("a", number))
    assert found is not None
    assert found.record is not None
    if found.sequence != wanted:
        # An empty record in front of it does as well.
        assert found.sequence < wanted
        assert found.record.head.sequence == number - 1
    # Each second step halves what is left. A step takes two looks, and one for each message of
    # another program that it comes upon.
    foreign = sum(piece.length is None for piece in some)
    steps = 2 * stream.last_sequence.bit_length() + 2
    assert stream.looks <= (2 + foreign) * steps


@given(some=st.lists(pieces, max_size=25))
@settings(max_examples=60, deadline=None)
def test_reads_one_after_another_give_every_message_that_there_is(some: list[Piece]) -> None:
    stream = _uneven_stream(some)
    kept = [n for r in stream.records("a") for n in range(r.first, r.head.sequence + 1)]

    async def read_all(*, forget: bool) -> list[int]:
        reader, found, after = _reader(stream), list[int](), 0
        while messages := await reader.read("a", after):
            assert [m.payload for m in messages] == [b"%d" % m.sequence for m in messages]
            found += [m.sequence for m in messages]
            after = found[-1]
            if forget:
                reader.forget()
        return found

    assert asyncio.run(read_all(forget=False)) == kept
    assert asyncio.run(read_all(forget=True)) == kept


async def test_a_read_begins_and_ends_within_records() -> None:
    stream = FakeStream()
    for first, length in ((1, 3), (4, 4), (8, 0), (8, 2)):
        stream.put("a", make_record(first, length), skip=5)
    reader = _reader(stream)
    assert await _sequences(reader) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert await _sequences(reader, 5) == [6, 7, 8, 9]
    assert await _sequences(reader, 7) == [8, 9]
    assert await _sequences(reader, 9) == []
    assert await _sequences(reader, 10**17) == []


async def test_a_read_ends_at_round_numbers_wherever_records_do() -> None:
    stream = FakeStream()
    stream.put("a", make_record(1, READ_MESSAGES - 1))
    stream.put("a", make_record(READ_MESSAGES, READ_MESSAGES + 5))
    reader = _reader(stream)
    assert (await _sequences(reader))[-1] == READ_MESSAGES
    assert await _sequences(reader, READ_MESSAGES - 1) == [READ_MESSAGES]
    second = await _sequences(reader, READ_MESSAGES)
    assert second == list(range(READ_MESSAGES + 1, 2 * READ_MESSAGES + 1))
    assert len(await _sequences(reader, 2 * READ_MESSAGES)) == 4


async def test_a_read_ends_after_so_many_bytes_within_a_record() -> None:
    stream = FakeStream()
    half = b"x" * (READ_BYTES // 2)
    stream.put("a", Record(EPOCH, 1, f"{EPOCH}.1", [Part(5, 1)], [half] * 5))
    reader = _reader(stream)
    assert [await _sequences(reader, after) for after in (0, 2, 4)] == [[1, 2], [3, 4], [5]]


async def test_a_read_that_goes_on_where_one_has_ended_searches_nothing() -> None:
    stream = FakeStream()
    for number in range(1, 2 * READ_MESSAGES + 1):
        stream.put("a", make_record(number), skip=3)
    reader = _reader(stream)
    await reader.read("a", 0)
    looks = stream.looks
    assert (await _sequences(reader, READ_MESSAGES))[0] == READ_MESSAGES + 1
    # Batches of three records, and nothing else.
    assert stream.looks - looks <= READ_MESSAGES // 3 + 2


async def test_only_so_many_places_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "REMEMBERED_PLACES", 2)
    stream = FakeStream()
    stream.put("a", make_record(1, 3 * READ_MESSAGES))
    reader = _reader(stream)
    for after in range(0, 3 * READ_MESSAGES, READ_MESSAGES):
        await reader.read("a", after)
    assert list(reader._places) == [("a", 2 * READ_MESSAGES), ("a", 3 * READ_MESSAGES)]
    reader.forget()
    assert not reader._places


async def test_messages_of_other_programs_are_passed_over() -> None:
    stream = FakeStream()
    stream.put("a", None)
    stream.put("a", make_record(1, 2))
    stream.put("a", None)
    stream.put("a", None)
    stream.put("a", make_record(3, 2))
    reader = _reader(stream)
    assert await _sequences(reader) == [1, 2, 3, 4]
    assert await _sequences(reader, 2) == [3, 4]
    stream.put("a", None)
    assert (await reader.head("a")).id == MessageId(EPOCH, 4)
    assert await _sequences(_reader(stream), 3) == [4]
    assert (await reader.listed("a")).bounds == (1, 4)


async def test_a_topic_with_nothing_but_messages_of_other_programs_has_no_number() -> None:
    stream = FakeStream()
    stream.put("a", None)
    reader = _reader(stream)
    assert await reader.listed("a") == ("a", (1, 0), MINE)
    assert await reader.read("a", 0) == []


def _mixed(*ages_s: Sequence[float]) -> FakeStream:
    """Return a stream with a record for each list of ages, one part a message."""
    stream, number, now = FakeStream(), 1, time.time_ns()
    for ages in ages_s:
        parts = [Part(1, now - int(age * NANOSECONDS)) for age in ages]
        payloads = [b"%d" % n for n in range(number, number + len(ages))]
        stream.put("a", Record(EPOCH, number, f"{EPOCH}.{number}", parts, payloads))
        number += len(ages)
    return stream


async def test_messages_expire_one_by_one_also_within_a_record() -> None:
    reader = _reader(_mixed([900, 800], [700, 650, 10, 5], [1]), Retention(1000, 600))
    assert (await reader.listed("a")).bounds == (5, 7)
    assert await _sequences(reader) == [5, 6, 7]
    assert await _sequences(reader, 2) == [5, 6, 7]
    assert await reader.place("a", MessageId(EPOCH, 3)) is IdState.EXPIRED
    assert await reader.place("a", MessageId(EPOCH, 4)) is IdState.KNOWN


async def test_a_message_that_a_slow_clock_has_accepted_is_missing_alone() -> None:
    reader = _reader(_mixed([10], [630], [5]), Retention(1000, 600))
    assert (await reader.listed("a")).bounds == (1, 3)
    assert await _sequences(reader) == [1]
    assert await _sequences(reader, 1) == [3]


async def test_a_topic_whose_messages_have_all_expired_keeps_its_number() -> None:
    stream = _mixed([900, 800], [700])
    reader = _reader(stream, Retention(1000, 600))
    assert await reader.listed("a") == ("a", (4, 3), EPOCH)
    assert await reader.read("a", 0) == []
    assert await reader.topics(["a"]) == []
    assert await reader.with_messages(["a"]) == []
    stream.put("a", make_record(4, 0))
    assert await reader.listed("a") == ("a", (4, 3), EPOCH)
    assert await reader.place("a", MessageId(EPOCH, 3)) is IdState.KNOWN


async def test_no_more_than_the_newest_messages_are_read() -> None:
    stream = FakeStream()
    for first in range(1, 20, 4):
        stream.put("a", make_record(first, 4), skip=2)
    reader = _reader(stream, Retention(6, 1e12))
    assert (await reader.listed("a")).bounds == (15, 20)
    assert await _sequences(reader) == [15, 16, 17, 18, 19, 20]
    assert await _sequences(reader, 17) == [18, 19, 20]


async def test_an_id_is_known_by_the_record_that_has_its_number() -> None:
    stream = FakeStream()
    for first, length, epoch in ((3, 2, MINE), (5, 0, MINE), (5, 3, OTHER), (8, 1, MINE)):
        stream.put("a", make_record(first, length, epoch=epoch), skip=7)
    reader = _reader(stream)
    states = {
        (epoch, number): await reader.place("a", MessageId(epoch, number))
        for epoch in (MINE, OTHER)
        for number in range(10)
    }
    known = {each for each, state in states.items() if state is IdState.KNOWN}
    # Of the number before the first one that is there, nobody knows any more whose it was.
    assert known == {
        *((MINE, number) for number in (2, 3, 4, 8)),
        *((OTHER, number) for number in (2, 5, 6, 7)),
    }
    assert {n for (_, n), s in states.items() if s is IdState.EXPIRED} == {0, 1}


async def test_an_id_is_known_behind_an_empty_record_that_has_become_the_first_one() -> None:
    stream = FakeStream()
    stream.put("a", make_record(4, 0, epoch=MINE))
    stream.put("a", make_record(4, 2, epoch=OTHER))
    reader = _reader(stream)
    assert await reader.place("a", MessageId(OTHER, 4)) is IdState.KNOWN
    assert await reader.place("a", MessageId(MINE, 4)) is IdState.NEVER


async def test_the_topics_that_have_messages_are_told_with_their_bounds() -> None:
    stream = FakeStream()
    stream.put("a", make_record(1, 2))
    stream.put("b", make_record(5, 0))
    stream.put("c", None)
    reader = _reader(stream)
    assert await reader.topics(["a", "b", "c", "d"]) == [("a", (1, 2), EPOCH)]
    assert await reader.with_messages(["a", "b", "c", "d"]) == ["a"]


class StaleStream(FakeStream):
    """A stream whose answers come from a server that misses the end, so often."""

    def __init__(self, stale: int) -> None:
        super().__init__()
        self._stale = stale
        self._missed: dict[str, list[Stored]] = {}

    def miss_the_end(self) -> None:
        """Take from now on what is there as all."""
        self._missed = {topic: list(stored) for topic, stored in self.topics.items()}

    def _is_stale(self) -> bool:
        self._stale -= 1
        return self._stale >= 0

    async def last(self, topic: str) -> Stored | None:
        """Return the newest message of a topic, for this server."""
        if not self._is_stale():
            return await super().last(topic)
        return self._missed.get(topic, [None])[-1]

    async def lasts(self, topics: Sequence[str]) -> dict[str, Stored]:
        """Return the newest message of each topic, for this server."""
        if not self._is_stale():
            return await super().lasts(topics)
        return {t: self._missed[t][-1] for t in topics if t in self._missed}


@pytest.mark.parametrize("stale", [1, 2, 5])
async def test_an_id_from_beyond_the_end_is_not_refused_by_a_server_that_is_behind(
    stale: int,
) -> None:
    stream = StaleStream(stale)
    stream.put("a", make_record(1, 2))
    stream.put(BARRIER, None)
    stream.miss_the_end()
    stream.put("a", make_record(3, 2, epoch=OTHER))
    assert await _reader(stream).place("a", MessageId(OTHER, 4)) is IdState.KNOWN


async def test_an_id_from_beyond_the_end_is_of_no_message_once_a_server_is_up_to_date() -> None:
    stream = StaleStream(3)
    stream.put("a", make_record(1, 2))
    stream.miss_the_end()
    stream.put("a", make_record(3, 2))
    reader = _reader(stream)
    assert await reader.place("a", MessageId(EPOCH, 5)) is IdState.NEVER
    assert await reader.place("never", MessageId(EPOCH, 1)) is IdState.NEVER
    assert "never" not in stream.topics


async def test_a_server_that_stays_behind_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "BARRIER_PATIENCE_S", 0.1)
    stream = StaleStream(10**6)
    stream.put("a", make_record(1, 2))
    stream.miss_the_end()
    with pytest.raises(NoAnswerError, match="behind the others"):
        await _reader(stream).place("a", MessageId(EPOCH, 5))


class _StoredAtOnce(FakeStream):
    """A stream into which all was moved a moment ago, however old it is."""

    async def first_since(self, topic: str, unix_ns: int) -> list[Stored]:
        del unix_ns
        return self.topics.get(topic, [])[:1]


@given(
    ages=st.lists(st.floats(0, 1200), max_size=40),
    skip=st.integers(0, 1000),
    empty_at=st.integers(0, 40),
)
@settings(max_examples=100, deadline=None)
def test_a_log_that_was_stored_at_once_begins_where_its_messages_have_not_expired(
    ages: list[float], skip: int, empty_at: int
) -> None:
    stream, now, retention = _StoredAtOnce(), time.time_ns(), Retention(10**9, 600)
    # No age is close enough to the limit to reach it while this runs.
    old_to_new = sorted((age for age in ages if not 500 < age < 600), reverse=True)
    for number, age in enumerate(old_to_new, 1):
        record = make_record(number, accepted_at=now - int(age * NANOSECONDS))
        if number == empty_at and age > 600:
            stream.put("a", make_record(number, 0))
        stream.put("a", record, skip=skip)
    expired = sum(1 for age in old_to_new if age > 500)
    looks = stream.looks
    listed = asyncio.run(_reader(stream, retention).listed("a"))
    assert listed.bounds == (expired + 1, len(old_to_new))
    assert stream.looks - looks <= 12 + stream.last_sequence.bit_length()
