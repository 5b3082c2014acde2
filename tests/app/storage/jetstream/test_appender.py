"""Writers of one stream, with the faults between them and it that a network has."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riptide.errors import LogUnavailableError, TopicLimitError, UncertainAppendError
from riptide.message import MessageId, Receipt
from riptide.storage.jetstream import appender as appender_module
from riptide.storage.jetstream.appender import (
    IN_PROCESS,
    NOT_THE_LAST,
    RECORD_BYTES,
    Appender,
)
from riptide.storage.jetstream.engine import NoAnswerError, RefusedError
from riptide.storage.jetstream.heads import Head, Heads
from riptide.storage.jetstream.life import Life
from riptide.storage.jetstream.record import MAX_PARTS
from riptide_telemetry import Lifecycle, RecordOutcome
from tests.app.messages import published
from tests.app.storage.jetstream.fake_stream import FakeStream
from tests.app.storage.jetstream.records import make_record
from tests.waiting import eventually, in_time, time_flies, turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from riptide.storage.jetstream.record import Record

OUT_OF_RESOURCES = 10077
# What happens to a record on its way, or to the answer, or to whoever asks what is stored.
FAULTS = (
    "none",
    "record lost",
    "answer lost",
    "in process",
    "refused",
    "wrong last sequence",
    "look lost",
    "not told",
)


class FaultyStream(FakeStream):
    """Does to each record what the next of the faults says, and then takes all of them."""

    def __init__(self, faults: Sequence[tuple[str, int]] = ()) -> None:
        super().__init__()
        self._faults = iter(faults)
        self._lost_looks = 0
        self.is_silent = False

    async def store(
        self, topic: str, records: Sequence[Record], after: int, *, timeout_s: float
    ) -> int:
        """Store records, or not, or without an answer."""
        fault, delay = next(self._faults, ("none", 1))
        await turns(delay)
        listeners = self.listeners
        if self.is_silent or fault == "record lost":
            raise NoAnswerError("lost")
        if fault == "in process":
            raise RefusedError(IN_PROCESS, "wrong last sequence")
        if fault == "refused":
            raise RefusedError(OUT_OF_RESOURCES, "insufficient resources")
        if fault == "wrong last sequence" and self.topics.get(topic):
            # As a server says that has already taken the record: the answer before was lost.
            with contextlib.suppress(RefusedError):
                await super().store(topic, records, after, timeout_s=timeout_s)
                raise NoAnswerError("lost")
            raise RefusedError(NOT_THE_LAST, "wrong last sequence")
        if fault == "look lost":
            self._lost_looks += 1
        if fault == "not told":
            self.listeners = []
        try:
            sequence = await super().store(topic, records, after, timeout_s=timeout_s)
        finally:
            self.listeners = listeners
        await turns(delay)
        if fault in {"answer lost", "look lost", "not told"}:
            raise NoAnswerError("lost")
        return sequence

    async def last(self, topic: str):  # type: ignore[no-untyped-def]  # as the one it overrides
        self._lose()
        return await super().last(topic)

    async def next(self, topic: str, sequence: int):  # type: ignore[no-untyped-def]  # as above
        self._lose()
        return await super().next(topic, sequence)

    def _lose(self) -> None:
        if self._lost_looks or self.is_silent:
            self._lost_looks = max(0, self._lost_looks - 1)
            raise NoAnswerError("lost")


def _appender(
    stream: FakeStream,
    *,
    timeout_s: float = 60,
    room: Callable[[], AbstractAsyncContextManager[None]] = contextlib.nullcontext,
) -> Appender:
    appender = Appender(stream, Heads(), Life(), room, timeout_s=timeout_s)
    stream.listeners.append(appender.hear)
    return appender


def _append(appender: Appender, *payloads: bytes, topic: str = "a") -> asyncio.Future[Receipt]:
    answer: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
    appender.append(published(topic, payloads), answer)
    return answer


def _stored(stream: FakeStream, topic: str = "a") -> list[tuple[MessageId, bytes]]:
    """Return the messages of a topic; fail if there is a gap between them."""
    found: list[tuple[MessageId, bytes]] = []
    for record in stream.records(topic):
        assert record.first == len(found) + 1
        found += [
            (MessageId(record.epoch, number), payload)
            for number, payload in enumerate(record.payloads, record.first)
        ]
    return found


@given(
    faults=st.lists(st.tuples(st.sampled_from(FAULTS), st.integers(0, 8)), max_size=30),
    appends=st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(0, 30)), min_size=1, max_size=25
    ),
)
@settings(max_examples=150, deadline=None)
def test_whatever_happens_numbers_have_no_gap_and_each_append_is_kept_once_as_it_is_answered(
    faults: list[tuple[str, int]], appends: list[tuple[int, int, int]]
) -> None:
    async def run() -> None:
        stream = FaultyStream(faults)
        appenders = [_appender(stream) for _ in range(3)]
        answers = []
        with time_flies():
            for number, (who, count, pause) in enumerate(appends):
                payloads = [b"%d.%d" % (number, n) for n in range(count)]
                answers.append((payloads, _append(appenders[who], *payloads)))
                await turns(pause)
            for payloads, answer in answers:
                receipt = await answer
                ids = [each for each, payload in _stored(stream) if payload in payloads]
                assert (ids[0], ids[-1], len(ids)) == (*receipt, len(payloads))
        kept = Counter(payload for _, payload in _stored(stream))
        assert kept == Counter(payload for payloads, _ in answers for payload in payloads)
        assert all(appender.under_way.age_s() == 0 for appender in appenders)
        for appender in appenders:
            await appender.close()

    asyncio.run(run())


@given(faults=st.lists(st.sampled_from(["none", "record lost", "answer lost"]), max_size=6))
@settings(max_examples=25, deadline=None)
def test_who_is_told_that_nothing_was_kept_is_told_the_truth(faults: list[str]) -> None:
    async def run() -> None:
        stream = FaultyStream([(fault, 0) for fault in faults])
        stream.listeners.clear()
        appender = Appender(stream, Heads(), Life(), contextlib.nullcontext, timeout_s=0.03)
        with time_flies():
            for number in range(6):
                payload = b"%d" % number
                stream.is_silent = number % 3 == 2
                answer = _append(appender, payload)
                await asyncio.wait([answer])
                kept = [each for _, each in _stored(stream)].count(payload)
                error = answer.exception()
                if error is None:
                    assert kept == 1
                elif isinstance(error, UncertainAppendError):
                    assert kept <= 1
                else:
                    assert isinstance(error, LogUnavailableError)
                    assert kept == 0

    asyncio.run(run())


@pytest.fixture
async def stream() -> AsyncIterator[FaultyStream]:
    with time_flies():
        yield FaultyStream()


async def test_what_waits_for_a_topic_is_written_together(stream: FaultyStream) -> None:
    appender = _appender(stream)
    await asyncio.gather(*(_append(appender, b"%d" % n) for n in range(MAX_PARTS + 10)))
    lengths = [len(record.parts) for record in stream.records("a")]
    assert lengths == [MAX_PARTS, 10]


async def test_a_record_has_no_more_bytes_than_servers_like(stream: FaultyStream) -> None:
    appender = _appender(stream)
    third = b"x" * (RECORD_BYTES // 3)
    await asyncio.gather(*(_append(appender, third) for _ in range(5)))
    assert [len(record.payloads) for record in stream.records("a")] == [3, 2]


async def test_a_publication_larger_than_a_record_has_several_with_its_parts(
    stream: FaultyStream,
) -> None:
    appender = _appender(stream)
    half = b"x" * (RECORD_BYTES // 2)
    receipt = await _append(appender, *[half] * 5)
    assert (receipt.first.sequence, receipt.last.sequence) == (1, 5)
    records = stream.records("a")
    assert [(r.first, [part.length for part in r.parts]) for r in records] == [
        (1, [2]),
        (3, [2]),
        (5, [1]),
    ]
    assert len({record.writer for record in records}) == 3


async def test_topics_do_not_wait_for_each_other(stream: FaultyStream) -> None:
    appender = _appender(stream)
    stuck: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    last = stream.last

    async def slow(topic: str) -> object:
        if topic == "a":
            await stuck
        return await last(topic)

    stream.last = slow  # type: ignore[method-assign]  # of this object alone
    waits = _append(appender, b"1", topic="a")
    await _append(appender, b"1", topic="b")
    assert not waits.done()
    assert appender.under_way.age_s() > 0
    stuck.set_result(None)
    await waits
    assert appender.under_way.age_s() == 0


async def test_a_record_that_the_stream_tells_of_is_kept_also_without_an_answer(
    stream: FaultyStream,
) -> None:
    appender = _appender(stream)
    silent = asyncio.Event()
    store = FakeStream.store

    async def store_and_be_silent(*arguments: object, **options: object) -> int:
        await store(stream, *arguments, **options)  # type: ignore[arg-type]  # passed on
        await silent.wait()
        raise NoAnswerError("lost")

    stream.store = store_and_be_silent  # type: ignore[method-assign]  # of this object alone
    receipt = await _append(appender, b"1")
    assert receipt.first == MessageId(appender.life.epoch, 1)
    silent.set()


async def test_each_append_has_its_time_though_others_before_it_take_theirs(
    stream: FaultyStream,
) -> None:
    stream.is_silent = True
    appender = _appender(stream, timeout_s=0.2)
    big = b"x" * RECORD_BYTES
    answers = [_append(appender, big) for _ in range(20)]
    await asyncio.wait(answers)
    assert appender.under_way.longest_stall_s() < 1
    for answer in answers:
        error = answer.exception()
        assert isinstance(error, LogUnavailableError)
        assert "was not published" in str(error)
    stream.is_silent = False
    assert (await _append(appender, b"1")).first.sequence == 1


async def test_when_the_service_ends_nobody_waits_for_ever(stream: FaultyStream) -> None:
    stream.is_silent = True
    appender = _appender(stream, timeout_s=60)
    answers = [_append(appender, b"x" * RECORD_BYTES) for _ in range(3)]
    appender.timeout_s = 0
    await turns()
    await appender.close()
    errors = [answer.exception() for answer in answers]
    assert [type(error) for error in errors] == [
        UncertainAppendError,
        LogUnavailableError,
        LogUnavailableError,
    ]
    assert appender.under_way.age_s() == 0


async def test_an_append_that_nobody_waits_for_is_kept_all_the_same(stream: FaultyStream) -> None:
    appender = _appender(stream)
    _append(appender, b"1").cancel()
    assert (await _append(appender, b"2")).first.sequence == 2
    assert [payload for _, payload in _stored(stream)] == [b"1", b"2"]


async def test_a_topic_too_many_is_refused_before_anything_is_sent(stream: FaultyStream) -> None:
    def full() -> AbstractAsyncContextManager[None]:
        raise TopicLimitError("too many topics", retry_after=60)

    appender = _appender(stream, room=full)
    for answer in [_append(appender, b"1"), _append(appender, b"2")]:
        with pytest.raises(TopicLimitError):
            await answer
    assert stream.records("a") == []
    # One that there is needs no room.
    stream.put("b", make_record(1))
    assert (await _append(appender, b"2", topic="b")).first.sequence == 2


async def test_an_append_behind_a_message_of_another_program_says_which_to_remove(
    stream: FaultyStream,
) -> None:
    stream.put("a", None)
    with pytest.raises(LogUnavailableError, match="nats stream rmm fake 1"):
        await _append(_appender(stream, timeout_s=0.05), b"1")


async def test_another_who_was_quicker_is_heard_or_asked_for_after_a_short_time(
    stream: FaultyStream,
) -> None:
    told, untold = _appender(stream), _appender(stream)
    stream.listeners.remove(untold.hear)
    for number, appender in enumerate([told, untold, told, untold], 1):
        assert (await _append(appender, b"0")).first.sequence == number
    looks = stream.looks
    # Of its own records it needs not be told.
    assert (await _append(untold, b"0")).first.sequence == 5
    assert stream.looks == looks


async def test_what_others_write_is_the_head_that_the_next_record_follows() -> None:
    stream = FakeStream()
    appender = _appender(stream)
    stream.put("a", make_record(1, 4))
    await eventually(lambda: appender.heads.get("a"))
    assert appender.heads.get("a") == Head(make_record(1, 4).head, 1)
    assert (await in_time(_append(appender, b"5"))).first == MessageId(appender.life.epoch, 5)


class Outcomes(Lifecycle):
    """Notes what becomes of records."""

    def __init__(self) -> None:
        self.counts: Counter[RecordOutcome] = Counter()
        self.writes_s: list[float] = []

    def log_record(self, outcome: RecordOutcome, count: int = 1) -> None:
        """Count them."""
        self.counts[outcome] += count

    def log_written(self, seconds: float) -> None:
        """Note the time."""
        self.writes_s.append(seconds)


@pytest.fixture
def outcomes() -> Outcomes:
    return Outcomes()


def _counting(stream: FakeStream, outcomes: Outcomes, timeout_s: float = 60) -> Appender:
    appender = Appender(
        stream, Heads(), Life(), contextlib.nullcontext, timeout_s=timeout_s, lifecycle=outcomes
    )
    stream.listeners.append(appender.hear)
    return appender


@pytest.mark.parametrize(
    ("faults", "counts"),
    [
        (["none"], {RecordOutcome.STORED: 1}),
        (["in process", "none"], {RecordOutcome.RETRIED: 1, RecordOutcome.STORED: 1}),
        (["refused", "none"], {RecordOutcome.RETRIED: 1, RecordOutcome.STORED: 1}),
        (["record lost", "none"], {RecordOutcome.RETRIED: 1, RecordOutcome.STORED: 1}),
        # The stream tells of it before the next try.
        (["answer lost"], {RecordOutcome.RECOVERED: 1}),
        # What follows in the stream is looked up.
        (["not told"], {RecordOutcome.RETRIED: 1, RecordOutcome.RECOVERED: 1}),
    ],
    ids=str,
)
async def test_each_try_and_each_record_is_counted_by_what_became_of_it(
    outcomes: Outcomes, faults: list[str], counts: dict[RecordOutcome, int]
) -> None:
    with time_flies():
        stream = FaultyStream([(fault, 0) for fault in faults])
        appender = _counting(stream, outcomes)
        await _append(appender, b"1")
        await appender.close()
    assert outcomes.counts == counts
    assert len(outcomes.writes_s) == counts.get(RecordOutcome.STORED, 0)


async def test_a_record_that_another_instance_was_quicker_than_is_a_conflict_and_no_retry(
    outcomes: Outcomes,
) -> None:
    with time_flies():
        stream = FaultyStream()
        appender = _counting(stream, outcomes)
        await _append(appender, b"1")
        stream.listeners.clear()
        stream.put("a", make_record(2))
        await _append(appender, b"3")
    assert outcomes.counts == {RecordOutcome.STORED: 2, RecordOutcome.CONFLICT: 1}


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [("refused", RecordOutcome.FAILED), ("record lost", RecordOutcome.UNCERTAIN)],
)
async def test_what_is_given_up_is_counted_once_for_all_its_tries(
    outcomes: Outcomes, fault: str, outcome: RecordOutcome
) -> None:
    with time_flies():
        stream = FaultyStream([(fault, 0)] * 1_000_000)
        with pytest.raises((LogUnavailableError, UncertainAppendError)):
            await _append(_counting(stream, outcomes, timeout_s=0.03), b"1")
    assert outcomes.counts[outcome] == 1
    assert set(outcomes.counts) == {outcome, RecordOutcome.RETRIED}


async def test_a_record_of_several_messages_of_nats_counts_for_each(
    stream: FaultyStream, outcomes: Outcomes
) -> None:
    half = b"x" * (RECORD_BYTES // 2)
    await _append(_counting(stream, outcomes), *[half] * 5)
    assert outcomes.counts == {RecordOutcome.STORED: 3}
    assert len(outcomes.writes_s) == 1


async def test_who_has_stored_a_record_lets_others_write_if_there_are_any(
    stream: FaultyStream,
) -> None:
    appender = _appender(stream)

    async def pause_s(topic: str) -> float:
        """Return how long the writer waits whose last write took 10 s."""
        began_at = asyncio.get_running_loop().time()
        await appender._let_others_write(topic, 10)
        return asyncio.get_running_loop().time() - began_at

    await _append(appender, b"1")
    assert await pause_s("a") < 5
    stream.listeners.clear()
    stream.put("a", make_record(2))
    await _append(appender, b"3")
    assert 5 <= await pause_s("a") < 20
    assert await pause_s("b") < 5


async def test_topics_that_had_several_writers_are_forgotten_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    appender = _appender(FaultyStream())
    monkeypatch.setattr(appender_module, "CONTENDED_S", 1e-6)
    for number in range(5):
        appender._note_contention(f"topic-{number}")
        await asyncio.sleep(1e-4)
    monkeypatch.setattr(appender_module, "CONTENDED_S", 60)
    for name in ("a", "b", "a"):
        appender._note_contention(name)
    assert list(appender._contended) == ["b", "a"]
