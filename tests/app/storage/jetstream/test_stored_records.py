from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from riptide.storage.jetstream import stored_records as module
from riptide.storage.jetstream.appender import NOT_THE_LAST
from riptide.storage.jetstream.engine import NoAnswerError, RefusedError
from riptide.storage.jetstream.record import Part, Record
from riptide.storage.jetstream.subjects import BARRIER, Subjects
from tests.app.messages import EPOCH
from tests.app.storage.jetstream.records import make_record

if TYPE_CHECKING:
    from riptide.storage.jetstream.engine import Engine
    from riptide.storage.jetstream.options import JetStreamOptions
    from riptide.storage.jetstream.stored_records import Stored, StoredRecords


async def _store(stored: StoredRecords, topic: str, *records: Record, after: int = 0) -> int:
    return await stored.store(topic, records, after, timeout_s=10)


def _plain(stored: Stored | None) -> tuple[int, Record | None]:
    """Return what was found, without the time."""
    assert stored is not None
    return stored.sequence, stored.record


async def test_a_record_is_found_as_it_was_stored_by_the_leader_and_by_all(
    stored: StoredRecords,
) -> None:
    parts = [Part(2, 5, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), Part(1, 7)]
    record = Record(EPOCH, 3, f"{EPOCH}.1", parts, [b'"\xc3\xa4"', b"{}", b"[1, 2]"])
    topic = "a.b~c_d:e-.."
    assert await _store(stored, topic, record) == 1
    assert _plain(await stored.last(topic)) == (1, record)
    assert _plain(await stored.next(topic, 1)) == (1, record)
    assert [_plain(each) for each in await stored.several(topic, 1)] == [(1, record)]
    assert _plain((await stored.lasts([topic]))[topic]) == (1, record)


async def test_the_time_of_a_record_is_when_it_was_stored(stored: StoredRecords) -> None:
    before = time.time()
    await _store(stored, "a", make_record(1, accepted_at=5))
    after = time.time()
    for found in (await stored.last("a"), (await stored.lasts(["a"]))["a"]):
        assert found is not None
        assert before - 0.1 <= found.stored_at <= after + 0.1


async def test_a_record_without_messages_is_one(stored: StoredRecords) -> None:
    empty = make_record(8, 0)
    await _store(stored, "a", empty)
    assert _plain(await stored.last("a")) == (1, empty)
    assert _plain((await stored.several("a", 1))[0]) == (1, empty)


async def test_a_record_is_stored_behind_the_one_that_it_follows_or_not_at_all(
    stored: StoredRecords,
) -> None:
    first = await _store(stored, "a", make_record(1))
    await _store(stored, "b", make_record(1))
    for after in (0, first + 1, 99):
        with pytest.raises(RefusedError) as error:
            await _store(stored, "a", make_record(2), after=after)
        assert error.value.code == NOT_THE_LAST
    assert await _store(stored, "a", make_record(2), after=first) == 3


async def test_several_records_are_stored_together_or_not_at_all(stored: StoredRecords) -> None:
    records = [make_record(1, 2), make_record(3, 2), make_record(5, 2)]
    last = await _store(stored, "a", *records)
    found = await stored.several("a", 1)
    assert [_plain(each) for each in found] == [(last - 2 + n, r) for n, r in enumerate(records)]
    more = [make_record(7, writer=70), make_record(8, writer=80)]
    with pytest.raises(RefusedError):
        await _store(stored, "a", *more, after=last - 1)
    assert len(await stored.several("a", 1)) == 3
    assert await _store(stored, "a", *more, after=last) == last + 2


async def test_another_stream_of_that_subject_does_not_take_a_record(
    stored: StoredRecords, engine: Engine, options: JetStreamOptions
) -> None:
    name = options.stream
    info = await engine.ask(f"STREAM.INFO.{name}")
    await engine.ask(f"STREAM.DELETE.{name}")
    await engine.ask(f"STREAM.CREATE.{name}-other", info["config"] | {"name": f"{name}-other"})
    with pytest.raises(RefusedError, match="stream does not match"):
        await _store(stored, "a", make_record(1))


async def test_what_is_not_there_is_nothing(stored: StoredRecords) -> None:
    assert await stored.last("a") is None
    assert await stored.next("a", 1) is None
    assert await stored.several("a", 1) == []
    assert await stored.first_since("a", 0) == []
    assert await stored.first_since("a", time.time_ns()) == []
    assert await stored.lasts(["a", "b"]) == {}
    assert await stored.lasts([]) == {}
    await _store(stored, "a", make_record(1))
    assert await stored.next("a", 2) is None
    assert await stored.several("a", 2) == []
    assert await stored.lasts(["a", "b"]) == {"a": await stored.last("a")}


async def test_records_are_found_from_a_number_of_the_stream_on(stored: StoredRecords) -> None:
    after = 0
    for number in range(1, 5):
        await stored.put_barrier(EPOCH)
        after = await _store(stored, "a", make_record(number), after=after)
    assert [each.sequence for each in await stored.several("a", 3)] == [4, 6, 8]
    assert [each.sequence for each in await stored.several("a", 0, 2)] == [2, 4]
    assert _plain(await stored.next("a", 5)) == (6, make_record(3))


async def test_an_answer_ends_once_it_is_long(
    stored: StoredRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_BYTES", 3000)
    after = 0
    for number in range(1, 6):
        record = Record(EPOCH, number, f"{EPOCH}.{number}", [Part(1, 5)], [b"x" * 1000])
        after = await _store(stored, "a", record, after=after)
    assert 1 <= len(await stored.several("a", 1)) < 5
    # One is always in it.
    monkeypatch.setattr(module, "BATCH_BYTES", 10)
    assert len(await stored.several("a", 1)) == 1


async def test_the_newest_records_of_topics_are_all_found_however_large_they_are(
    stored: StoredRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_BYTES", 3000)
    monkeypatch.setattr(module, "SUBJECTS_AT_ONCE", 7)
    topics = [f"t.{n}" for n in range(20)]
    for number, topic in enumerate(topics):
        record = Record(EPOCH, 1, f"{EPOCH}.{number}", [Part(1, 5)], [b"x" * (number * 200)])
        await _store(stored, topic, record)
    found = await stored.lasts([*topics, "none"])
    assert {topic: each.sequence for topic, each in found.items()} == {
        topic: number for number, topic in enumerate(topics, 1)
    }


async def test_records_are_found_from_a_moment_on(stored: StoredRecords) -> None:
    first = await _store(stored, "a", make_record(1))
    last = await stored.last("a")
    assert last is not None
    moment = int((last.stored_at + 0.000_1) * 1e9)
    await _store(stored, "a", make_record(2), after=first)
    assert [each.sequence for each in await stored.first_since("a", moment)] == [2]
    assert [each.sequence for each in await stored.first_since("a", 0)] == [1]
    assert [each.sequence for each in await stored.first_since("a", -5)] == [1]
    assert await stored.first_since("a", time.time_ns() + 3_600_000_000_000) == []


async def test_messages_of_other_programs_are_no_records(
    stored: StoredRecords, engine: Engine, options: JetStreamOptions
) -> None:
    subject = Subjects(options.stream).stored("a")
    for headers in ({}, {"Other": "1"}, {"Riptide-Record": "hello"}):
        sequence = await engine.publish(subject, b"\xff\x00", headers)
        assert _plain(await stored.last("a")) == (sequence, None)
        assert _plain((await stored.lasts(["a"]))["a"]) == (sequence, None)
    assert [each.record for each in await stored.several("a", 1)] == [None] * 3
    advice = stored.foreign("a", 3)
    assert f"nats stream rmm {options.stream} 3" in advice
    assert "topic a" in advice


async def test_a_barrier_is_behind_all_and_of_no_topic(stored: StoredRecords) -> None:
    await _store(stored, "a", make_record(1))
    assert await stored.put_barrier(EPOCH) == 2
    assert await stored.put_barrier(EPOCH) == 3
    found = await stored.lasts([BARRIER, "a"])
    assert {topic: each.sequence for topic, each in found.items()} == {BARRIER: 3, "a": 1}


async def test_a_purge_deletes_a_topics_records_before_a_number_and_no_others(
    stored: StoredRecords,
) -> None:
    after = 0
    for number in range(1, 4):
        after = await _store(stored, "a", make_record(number), after=after)
    await _store(stored, "b", make_record(1))
    await stored.purge("a", 3)
    assert [each.sequence for each in await stored.several("a", 1)] == [3]
    assert await stored.last("b") is not None
    await stored.purge("a", 3)
    assert await _store(stored, "a", make_record(4), after=3) == 5


async def test_a_stream_that_is_gone_answers_with_an_error(
    stored: StoredRecords, engine: Engine, options: JetStreamOptions
) -> None:
    await engine.ask(f"STREAM.DELETE.{options.stream}")
    with pytest.raises(RefusedError, match="stream not found"):
        await stored.last("a")
    with pytest.raises(NoAnswerError):
        await stored.several("a", 1)
    with pytest.raises(NoAnswerError):
        await _store(stored, "a", make_record(1))


async def test_messages_may_be_as_large_as_servers_take_them_with_room_for_headers(
    stored: StoredRecords, engine: Engine
) -> None:
    assert stored.max_message_bytes() == engine.max_payload - 64 * 1024
    payload = b"x" * stored.max_message_bytes()
    record = Record(EPOCH, 1, f"{EPOCH}.1", [Part(1, 5)], [payload])
    await _store(stored, "a", record)
    assert _plain((await stored.several("a", 1))[0]) == (1, record)
