"""A log in SQLite is moved into a stream of a real server, and read by an instance on it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from riptide.errors import MigrationError
from riptide.message import NANOSECONDS, MessageId
from riptide.storage.jetstream import migration as migration_module
from riptide.storage.jetstream.engine import NoAnswerError, RefusedError
from riptide.storage.jetstream.migration import Migration, Moved
from riptide.storage.jetstream.stored_records import HEADER_BYTES
from riptide.storage.log_at_rest import LogAtRest
from riptide.storage.message_log import IdState, Retention
from riptide.storage.sqlite import SqliteLog
from tests.app.storage.appending import append
from tests.app.storage.damaging import flip_in
from tests.app.storage.jetstream.fake_stream import FakeStream
from tests.app.storage.jetstream.old_log import live
from tests.app.storage.jetstream.records import make_record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from riptide.message import Message
    from riptide.storage.jetstream.record import Record
    from riptide.storage.jetstream.stored_records import Stored, StoredRecords
    from riptide.storage.message_log import MessageLog
    from tests.app.storage.jetstream.conftest import OpenInstance

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def _migrate(directory: Path, stored: StoredRecords, timeout_s: float = 10) -> Moved:
    """Move a log and compare; return what was stored now."""
    with LogAtRest(directory) as log:
        migration = Migration(log, stored, timeout_s=timeout_s)
        topics = await migration.check()
        moved = await migration.move(topics)
        await migration.compare(topics)
    return moved


async def _all(log: MessageLog, topic: str) -> list[Message]:
    found: list[Message] = []
    while messages := await log.read(topic, found[-1].sequence if found else 0):
        found += messages
    return found


async def _states(log: MessageLog, topic: str, ids: Sequence[MessageId]) -> list[IdState]:
    return [await log.place(topic, position) for position in ids]


def _lines(count: int, size: int = 1) -> list[bytes]:
    return [b"%d" % (10 ** (size - 1) + number) for number in range(count)]


async def test_an_instance_has_the_messages_as_they_were_and_knows_all_their_ids(
    tmp_path: Path, stored: StoredRecords, instance: OpenInstance
) -> None:
    ids: dict[str, list[MessageId]] = {"a.b": [], "c": []}
    for number in range(3):
        found = await live(
            tmp_path,
            {"a.b": [_lines(3), [b'"%d"' % number]], "c": [_lines(1200, 300), _lines(7)]},
            traceparent=TRACE * (number == 1),
        )
        for topic, more in found.items():
            ids[topic] += more
    with LogAtRest(tmp_path) as log:
        before = {topic: [m for some in log.messages(topic, 0) for m in some] for topic in ids}
    moved = await _migrate(tmp_path, stored)
    assert moved == Moved(2, 12 + 3 * 1207)
    one = await instance()
    for topic, of_topic in ids.items():
        after = await _all(one, topic)
        assert [m.id for m in after] == of_topic
        for ours, theirs in zip(before[topic], after, strict=True):
            assert (ours.payload, ours.accepted_at, ours.traceparent) == (
                theirs.payload,
                theirs.accepted_at,
                theirs.traceparent,
            )
    assert set(await _states(one, "a.b", ids["a.b"])) == {IdState.KNOWN}
    # Numbers of one life with the epoch of another, and beyond the end of their own.
    first, last = ids["a.b"][0], ids["a.b"][-1]
    made_up = [
        MessageId("ffffffff", 5),
        MessageId("ffffffff", last.sequence),
        MessageId(first.epoch, 5),
        MessageId(last.epoch, 1),
        MessageId(last.epoch, last.sequence + 1),
    ]
    assert set(await _states(one, "a.b", made_up)) == {IdState.NEVER}
    # The next message is the next number, of the instance's own epoch.
    assert await append(one, "a.b", b"new") == last.sequence + 1
    assert await one.place("a.b", last) is IdState.KNOWN


async def test_every_id_is_to_an_instance_what_it_was_to_the_service(
    tmp_path: Path, stored: StoredRecords, instance: OpenInstance
) -> None:
    retention = Retention(10, 3600)
    epochs = []
    for _ in range(3):
        found = await live(tmp_path, {"a": [_lines(6)]}, retention=retention)
        epochs.append(found["a"][0].epoch)
    log = SqliteLog(tmp_path, retention)
    await log.open()
    # What is too much is deleted a moment after the start.
    while (bounds := await log.bounds("a")) != (9, 18):  # noqa: ASYNC110  # the log tells nobody
        await asyncio.sleep(0.02)
    given = [MessageId(epochs[(n - 1) // 6], n) for n in range(1, 19)]
    before = await _states(log, "a", given)
    await log.close()
    await _migrate(tmp_path, stored)
    one = await instance(retention)
    assert await one.bounds("a") == bounds
    assert await _states(one, "a", given) == before
    assert before == [IdState.EXPIRED] * 7 + [IdState.KNOWN] * 11


async def test_a_topic_whose_messages_have_expired_keeps_its_number(
    tmp_path: Path, stored: StoredRecords, instance: OpenInstance
) -> None:
    old = await live(tmp_path, {"a": [_lines(5)]}, accepted_at=1, retention=Retention(1000, 1e12))
    log = SqliteLog(tmp_path, Retention(1000, 0.05))
    await log.open()
    while not (await log.bounds("a")).is_empty():  # noqa: ASYNC110  # the log tells nobody
        await asyncio.sleep(0.02)
    await log.close()
    assert await _migrate(tmp_path, stored) == Moved(0, 0)
    one = await instance()
    assert await one.bounds("a") == (6, 5)
    assert await _states(one, "a", old["a"]) == [IdState.EXPIRED] * 4 + [IdState.KNOWN]
    assert await one.place("a", MessageId("ffffffff", 5)) is IdState.NEVER
    assert await one.names("", 10) == []
    assert await append(one, "a", b"6") == 6


async def test_damaged_messages_leave_a_gap_and_take_no_number_from_others(
    tmp_path: Path, stored: StoredRecords, instance: OpenInstance
) -> None:
    lines = [b'"line %d"' % number for number in range(1, 8)]
    ids = (await live(tmp_path, {"a": [lines], "b": [[b'"line b"']]}))["a"]
    for number in (3, 4, 7):
        flip_in(tmp_path / "riptide.db", b'"line %d"' % number, 1)
    assert await _migrate(tmp_path, stored) == Moved(2, 5)
    # Nothing is left to do.
    assert await _migrate(tmp_path, stored) == Moved(0, 0)
    one = await instance()
    # A read ends before what is missing.
    assert [m.id for m in await _all(one, "a")] == [ids[n - 1] for n in (1, 2, 5, 6)]
    assert await one.bounds("a") == (1, 7)
    assert IdState.NEVER not in await _states(one, "a", ids)
    assert await append(one, "a", b"8") == 8


class _Flaky(FakeStream):
    """Answers are lost, or the servers are busy, before or after they have stored a record."""

    def __init__(self, outcomes: Sequence[str]) -> None:
        super().__init__()
        self.outcomes = list(outcomes)

    def max_message_bytes(self) -> int:
        return 1_000_000

    async def store(
        self, topic: str, records: Sequence[Record], after: int, *, timeout_s: float
    ) -> int:
        outcome = self.outcomes.pop(0) if self.outcomes else "stored"
        if outcome == "lost before":
            raise NoAnswerError("nothing came")
        if outcome == "busy":
            raise RefusedError(10167, "too many requests")
        if outcome == "another":
            self.put(topic, make_record(1, 1, epoch="11111111"))
        sequence = await super().store(topic, records, after, timeout_s=timeout_s)
        if outcome == "lost after":
            raise NoAnswerError("the answer was lost")
        return sequence


async def test_a_record_is_stored_once_whatever_answers_are_lost(tmp_path: Path) -> None:
    await live(tmp_path, {"a": [_lines(600), _lines(600)]})
    stream = _Flaky(["lost after", "lost before", "busy", "lost before", "lost after", "stored"])
    assert await _migrate(tmp_path, stream) == Moved(1, 1200)
    assert sum(len(each.payloads) for each in stream.records("a")) == 1200
    assert stream.outcomes == []


async def test_servers_that_store_nothing_for_long_end_it_with_what_to_do(tmp_path: Path) -> None:
    await live(tmp_path, {"a": [_lines(3)]})
    stream = _Flaky(["busy"] * 1000)
    with pytest.raises(MigrationError, match=r"too many requests.*run this again"):
        await _migrate(tmp_path, stream, timeout_s=0.1)
    assert stream.records("a") == []


async def test_whoever_writes_to_a_topic_meanwhile_ends_it(tmp_path: Path) -> None:
    await live(tmp_path, {"a": [_lines(3)]})
    with pytest.raises(MigrationError, match="is being written to"):
        await _migrate(tmp_path, _Flaky(["another"]))


async def test_a_stream_that_cannot_be_read_ends_it_with_what_to_do(tmp_path: Path) -> None:
    await live(tmp_path, {"a": [_lines(3)]})

    class Silent(_Flaky):
        async def lasts(self, topics: Sequence[str]) -> dict[str, Stored]:
            raise NoAnswerError(f"nobody knows of {topics}")

    with pytest.raises(MigrationError, match="cannot be read"):
        await _migrate(tmp_path, Silent([]), timeout_s=0.1)


async def test_it_goes_on_where_it_was_interrupted_also_after_more_was_published(
    tmp_path: Path, stored: StoredRecords, instance: OpenInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await live(tmp_path, {"a": [_lines(900)], "b": [_lines(700)]})
    real, records = migration_module.Migration._store, 0

    async def end_soon(self: Migration, topic: str, record: Record, after: int) -> int:
        nonlocal records
        records += 1
        if records > 2:
            raise InterruptedError
        return await real(self, topic, record, after)

    with monkeypatch.context() as patched:
        patched.setattr(Migration, "_store", end_soon)
        with pytest.raises(InterruptedError):
            await _migrate(tmp_path, stored)
    more = await live(tmp_path, {"a": [_lines(5)], "c": [_lines(2)]})
    moved = await _migrate(tmp_path, stored)
    assert 607 <= moved.messages < 1607
    one = await instance()
    for topic in "abc":
        found = await _all(one, topic)
        assert [m.id for m in found] == ids.get(topic, []) + more.get(topic, [])
    assert await _migrate(tmp_path, stored) == Moved(0, 0)


async def test_a_stream_that_an_instance_has_written_to_is_refused_before_anything_is_written(
    tmp_path: Path, stored: StoredRecords, instance: OpenInstance
) -> None:
    await live(tmp_path, {"a": [_lines(3)], "b": [_lines(3)]})
    one = await instance()
    await append(one, "other", b"1")
    await append(one, "b", b"1")
    with pytest.raises(MigrationError, match=r"topic b .*RIPTIDE_JETSTREAM_STREAM"):
        await _migrate(tmp_path, stored)
    assert (await one.bounds("a")).is_empty()
    # After a migration, too: the log is not moved a second time.
    with contextlib.suppress(MigrationError):
        await _migrate(tmp_path, stored)
    assert await one.bounds("b") == (1, 1)


async def test_a_message_of_another_program_at_the_end_of_a_topic_is_told_of(
    tmp_path: Path, stored: StoredRecords
) -> None:
    await live(tmp_path, {"a": [_lines(3)]})
    await stored._engine.publish(stored._subjects.stored("a"), b"foreign", {})
    with pytest.raises(MigrationError, match="nats stream rmm"):
        await _migrate(tmp_path, stored)


async def test_messages_that_the_servers_do_not_take_are_told_of_before_anything_is_written(
    tmp_path: Path, stored: StoredRecords
) -> None:
    await live(tmp_path, {"a": [[b"1"]], "b": [[b"x" * 1_000_000]]})
    with pytest.raises(MigrationError, match=f"set max_payload to {1_000_000 + HEADER_BYTES}"):
        await _migrate(tmp_path, stored)
    assert await stored.last("a") is None


async def test_the_comparison_finds_what_was_lost_or_altered_or_came_besides(
    tmp_path: Path,
) -> None:
    await live(tmp_path, {"a": [_lines(3), _lines(2)]})
    stream = _Flaky([])
    await _migrate(tmp_path, stream)
    with LogAtRest(tmp_path) as log:
        migration = Migration(log, stream, timeout_s=1)
        topics = await migration.check()
        assert await migration.compare(topics) == Moved(1, 5)
        (whole,) = kept = stream.topics["a"]
        assert whole.record is not None
        altered = whole.record._replace(payloads=[b"0", *whole.record.payloads[1:]])
        for records, text in (
            ([], "message .*-1 is in the log and not in the stream"),
            ([whole._replace(record=altered)], "or differs"),
            ([*kept, whole._replace(record=make_record(6))], "is in the stream and not in the log"),
            ([*kept, whole._replace(record=make_record(9, 0))], "ends with"),
            ([*kept, whole._replace(record=None)], "nats stream rmm"),
        ):
            stream.topics["a"] = records
            with pytest.raises(MigrationError, match=text):
                await migration.compare(topics)


async def test_old_messages_expire_by_their_own_time_though_they_were_stored_just_now(
    tmp_path: Path, stored: StoredRecords, instance: OpenInstance
) -> None:
    old, now = time.time_ns() - 7200 * NANOSECONDS, time.time_ns()
    keep = Retention(1_000_000, 1e6)
    ids = await live(tmp_path, {"a": [_lines(500)] * 6}, accepted_at=old, retention=keep)
    ids["a"] += (await live(tmp_path, {"a": [_lines(3)]}, accepted_at=now, retention=keep))["a"]
    await _migrate(tmp_path, stored)
    one = await instance(Retention(1_000_000, 3600))
    assert await one.bounds("a") == (3001, 3003)
    assert [m.id for m in await _all(one, "a")] == ids["a"][3000:]
    assert await one.place("a", ids["a"][2998]) is IdState.EXPIRED
    assert await one.place("a", ids["a"][2999]) is IdState.KNOWN
    assert (await one.topics(["a"]))[0].bounds == (3001, 3003)
