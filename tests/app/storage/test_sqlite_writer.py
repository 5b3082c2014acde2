from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from typing import TYPE_CHECKING

import pytest

from riptide.errors import LogUnavailableError, TopicLimitError
from riptide.message import NANOSECONDS
from riptide.process.faults import Faults
from riptide.storage import append_transaction, log_watch, sqlite_writer, trim
from riptide.storage.disk_room import DiskFullError
from riptide.storage.feeds import Feeds
from riptide.storage.message_log import Retention
from riptide.storage.sqlite_file import PATIENCE_S, SqliteFile
from riptide.storage.sqlite_writer import Append, SqliteWriter
from riptide_telemetry import ServicePart
from tests.app.messages import published
from tests.app.storage.set_clock import SetClock
from tests.waiting import eventually, in_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from riptide.message import Receipt

MONTH_NS = 30 * 86_400 * NANOSECONDS
RETENTION = Retention(100_000, 3600)
BIG = b'"' + b"x" * 100_000 + b'"'


class TightFile(SqliteFile):
    """A file on a disk that is about to be full, until somebody makes room."""

    max_pages = 1_000_000
    statements: list[str]

    def connect(self, patience_s: float = PATIENCE_S) -> sqlite3.Connection:
        connection = super().connect(patience_s)
        connection.execute(f"PRAGMA max_page_count = {self.max_pages}")
        self.statements = []
        connection.set_trace_callback(self.statements.append)
        self.latest = connection
        return connection


@pytest.fixture
def file(tmp_path: Path) -> Iterator[TightFile]:
    file = TightFile(tmp_path)
    file.open()
    yield file
    file.close()


@contextlib.contextmanager
def _reading(file: SqliteFile) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(file.path)) as connection:
        yield connection


class Awaited(Append):
    """An append whose answer can be awaited."""

    done: asyncio.Future[Receipt]


def _append(
    topic: str, payloads: Sequence[bytes] = (b"0",), accepted_at: int | None = None
) -> Awaited:
    done = asyncio.get_running_loop().create_future()
    return Awaited(published(topic, payloads, accepted_at), done)


def _writer(
    file: SqliteFile, retention: Retention = RETENTION, faults: Faults | None = None
) -> SqliteWriter:
    return SqliteWriter(file, retention, Feeds(), faults)


def _commits(file: TightFile) -> int:
    """Return how many transactions there were with messages in them."""
    transactions = "\n".join(file.statements).split("BEGIN IMMEDIATE")
    return sum("INSERT INTO messages" in transaction for transaction in transactions)


def _sequences(file: SqliteFile) -> list[int]:
    with _reading(file) as connection:
        return [n for (n,) in connection.execute("SELECT sequence FROM messages ORDER BY 1")]


async def test_all_appends_that_wait_share_one_transaction(file: TightFile) -> None:
    writer = _writer(file)
    appends = [_append(f"topic-{n % 3}") for n in range(50)]
    for append in appends:
        writer.put(append)
    writer.start()
    firsts = [
        receipt.first.sequence for receipt in await asyncio.gather(*(each.done for each in appends))
    ]
    writer.stop()
    assert firsts == [n // 3 + 1 for n in range(50)]
    assert _commits(file) == 1


async def test_a_transaction_ends_at_so_many_messages(
    file: TightFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "COMMIT_MESSAGES", 10)
    writer = _writer(file)
    appends = [_append("a", [b"0"] * 4) for _ in range(6)]
    for append in appends:
        writer.put(append)
    writer.start()
    firsts = [
        receipt.first.sequence for receipt in await asyncio.gather(*(each.done for each in appends))
    ]
    writer.stop()
    assert firsts == [1, 5, 9, 13, 17, 21]
    assert _commits(file) == 2


async def test_a_full_disk_refuses_everything_of_the_commit_and_leaves_no_hole_behind(
    file: TightFile,
) -> None:
    file.max_pages = 8
    writer = _writer(file)
    writer.start()
    small = _append("a")
    writer.put(small)
    assert (await small.done).first.sequence == 1
    refused = [_append("a"), _append("new", [b"0", BIG])]
    with _reading(file) as blocker:
        # Both have to wait, and so share their fate.
        blocker.execute("BEGIN IMMEDIATE")
        first = _append("a", [b"0"])
        writer.put(first)
        await eventually(writer._queue.empty)
        for append in refused:
            writer.put(append)
        blocker.rollback()
    assert (await first.done).first.sequence == 2
    for append in refused:
        with pytest.raises(LogUnavailableError, match="full"):
            await append.done
    assert "full" in (writer.failure() or "")
    file.latest.execute("PRAGMA max_page_count = 1000000")
    after = [_append("a"), _append("new", [BIG, b"0"])]
    for append in after:
        writer.put(append)
    assert [(await append.done).first.sequence for append in after] == [3, 1]
    writer.stop()
    assert writer.failure() is None
    with _reading(file) as connection:
        assert connection.execute("SELECT name, head FROM topics ORDER BY id").fetchall() == [
            ("a", 3),
            ("new", 2),
        ]


async def test_a_cancelled_append_is_kept_and_harms_no_other(file: TightFile) -> None:
    writer = _writer(file)
    given_up, other = _append("a"), _append("a")
    writer.put(given_up)
    writer.put(other)
    given_up.done.cancel()
    writer.start()
    assert (await other.done).first.sequence == 2
    writer.stop()
    assert _sequences(file) == [1, 2]


async def test_stopping_commits_what_waits_and_stopping_again_does_nothing(
    file: TightFile,
) -> None:
    writer = _writer(file)
    writer.stop()
    writer.start()
    appends = [_append("a") for _ in range(20)]
    for append in appends:
        writer.put(append)
    await asyncio.to_thread(writer.stop)
    writer.stop()
    receipts = await asyncio.gather(*(append.done for append in appends))
    assert [receipt.first.sequence for receipt in receipts] == list(range(1, 21))


async def test_retention_is_kept_in_steps_between_which_appends_get_through(
    file: TightFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trim, "TRIM_MESSAGES", 10)
    monkeypatch.setattr(sqlite_writer, "TRIM_INTERVAL_S", 0.01)
    writer = _writer(file, Retention(5, 3600))
    append = _append("a", [b"0"] * 101)
    writer.put(append)
    writer.start()
    await append.done
    await eventually(lambda: _sequences(file) == [97, 98, 99, 100, 101])
    deletes = [s for s in file.statements if s.startswith("DELETE FROM messages")]
    writer.stop()
    assert len(deletes) == 10


async def test_a_trim_with_nothing_due_reads_no_topic_however_many_there_are(
    file: TightFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "TRIM_INTERVAL_S", 0.01)
    monkeypatch.setattr(sqlite_writer, "PROBE_INTERVAL_S", 3600)
    trims = 0
    trim_once = SqliteWriter._trim

    def counted(writer: SqliteWriter, connection: sqlite3.Connection) -> bool:
        nonlocal trims
        trims += 1
        return trim_once(writer, connection)

    monkeypatch.setattr(SqliteWriter, "_trim", counted)
    with _reading(file) as remembered:
        names = [(f"topic-{number}", number) for number in range(1, 1001)]
        remembered.executemany("INSERT INTO topics (name, head) VALUES (?, ?)", names)
        remembered.commit()
    writer = _writer(file)
    writer.start()
    append = _append("a")
    writer.put(append)
    await append.done
    # A trim is over when the next one has begun.
    await eventually(lambda: trims >= 2)
    file.statements.clear()
    begun = trims
    await eventually(lambda: trims >= begun + 3)
    # How much of the file is free is looked at now and then.
    assert [each for each in file.statements if not each.startswith("PRAGMA")] == []
    writer.stop()


async def test_only_what_is_too_old_expires_even_when_the_clock_went_back(
    file: TightFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "TRIM_INTERVAL_S", 0.01)
    now = time.time_ns()
    writer = _writer(file, Retention(1000, 60))
    old, young, back = (
        _append("a", [b"0"] * 2, now - 61_000_000_000),
        _append("a", [b"0"], now),
        _append("a", [b"0"], now - 61_000_000_000),
    )
    for append in (old, young, back):
        writer.put(append)
    writer.start()
    await back.done
    await eventually(lambda: _sequences(file) == [3, 4])
    writer.stop()


@contextlib.contextmanager
def _writing(
    file: SqliteFile, retention: Retention, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SqliteWriter]:
    monkeypatch.setattr(sqlite_writer, "TRIM_INTERVAL_S", 0.01)
    writer = _writer(file, retention)
    writer.start()
    try:
        yield writer
    finally:
        writer.stop()


async def _put(writer: SqliteWriter, accepted_at: int) -> None:
    append = _append("a", accepted_at=accepted_at)
    writer.put(append)
    await append.done


async def test_a_message_from_beyond_now_holds_up_no_retention_after_a_restart(
    file: TightFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SetClock()
    retention = Retention(1000, 60, clock=clock.expiry)
    with _writing(file, retention, monkeypatch) as writer:
        for ahead_ns in (MONTH_NS, MONTH_NS, 0):
            await _put(writer, clock.wall_ns + ahead_ns)
    with _writing(file, retention, monkeypatch) as writer:
        clock.go_on(55)
        await _put(writer, clock.wall_ns)
        clock.go_on(6)
        await eventually(lambda: _sequences(file) == [4])
        clock.go_on(55)
        await eventually(lambda: _sequences(file) == [])


async def test_messages_of_a_clock_that_is_set_back_hold_up_no_retention(
    file: TightFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SetClock()
    with _writing(file, Retention(1000, 60, clock=clock.expiry), monkeypatch) as writer:
        for _ in range(2):
            await _put(writer, clock.wall_ns)
        clock.set_by(-30 * 86_400)
        await eventually(lambda: clock.expiry.times_set_back)
        await _put(writer, clock.wall_ns)
        clock.go_on(59)
        await _put(writer, clock.wall_ns)
        assert _sequences(file) == [1, 2, 3, 4]
        clock.go_on(2)
        await eventually(lambda: _sequences(file) == [4])


async def test_a_clock_that_steps_forward_deletes_nothing_until_it_is_believed(
    file: TightFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SetClock()
    with _writing(file, Retention(1000, 60, clock=clock.expiry), monkeypatch) as writer:
        await _put(writer, clock.wall_ns)
        clock.go_on(10)
        await _put(writer, clock.wall_ns)
        clock.set_by(86_400)
        await eventually(clock.expiry.doubt)
        await _put(writer, clock.wall_ns)
        # Time goes on meanwhile: the first message expires in it, and the others do not.
        clock.go_on(55)
        await eventually(lambda: _sequences(file) == [2, 3])
        clock.go_on(3600)
        await eventually(lambda: _sequences(file) == [])


async def test_a_log_is_not_deleted_by_a_clock_that_is_far_ahead_at_the_start(
    file: TightFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SetClock()
    retention = Retention(2, 60, clock=clock.expiry)
    with _writing(file, Retention(2, 60 * 86_400, clock=clock.expiry), monkeypatch) as writer:
        await _put(writer, clock.wall_ns - MONTH_NS)
    with _writing(file, retention, monkeypatch) as writer:
        # What is too many goes on being deleted.
        for _ in range(3):
            await _put(writer, clock.wall_ns - MONTH_NS)
        await eventually(lambda: _sequences(file) == [3, 4])
        assert clock.expiry.doubt() is not None
        clock.go_on(3600)
        await eventually(lambda: _sequences(file) == [])


async def test_a_failed_deletion_does_not_end_the_writer(
    file: TightFile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlite_writer, "TRIM_INTERVAL_S", 0.01)
    writer = _writer(file, Retention(1, 3600))
    with _reading(file) as vandal:
        vandal.execute(
            "CREATE TRIGGER vandalism BEFORE DELETE ON messages "
            "BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        vandal.commit()
        writer.start()
        first = _append("a", [b"0"] * 2)
        writer.put(first)
        await first.done
        await eventually(lambda: "expired messages could not be deleted" in caplog.text)
        vandal.execute("DROP TRIGGER vandalism")
        vandal.commit()
    append = _append("a")
    writer.put(append)
    assert (await append.done).first.sequence == 3
    await eventually(lambda: _sequences(file) == [3])
    writer.stop()


async def test_the_log_finds_by_itself_that_it_takes_messages_again(
    file: TightFile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(sqlite_writer, "PROBE_INTERVAL_S", 0.01)
    full = pytest.MonkeyPatch()
    full.setattr(file.room, "require", _no_room)
    with _writing(file, RETENTION, monkeypatch) as writer:
        # Nobody publishes.
        await eventually(lambda: "the disk is full" in (writer.failure() or ""))
        full.undo()
        await eventually(lambda: writer.failure() is None)
    told = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert told == ["the message log takes no messages", "the message log takes messages again"]


def _no_room(*_: object) -> None:
    raise DiskFullError(0)


async def test_a_probe_reaches_the_disk(file: TightFile, monkeypatch: pytest.MonkeyPatch) -> None:
    with _writing(file, RETENTION, monkeypatch) as writer:
        await _put(writer, time.time_ns())
        before = file.room.wal_bytes()
        monkeypatch.setattr(sqlite_writer, "PROBE_INTERVAL_S", 0.01)
        await _put(writer, time.time_ns())
        kept = _sequences(file)
        await eventually(lambda: file.room.wal_bytes() > 2 * before)
        assert _sequences(file) == kept == [1, 2]


async def test_an_append_that_waits_too_long_is_told_and_others_are_refused_at_once(
    file: TightFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_watch, "LIMIT_S", 0.2)
    with _writing(file, RETENTION, monkeypatch) as writer:
        await eventually(lambda: (writer.failure(), writer.oldest_append_age_s()) == (None, 0))
        with _reading(file) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = _append("a")
            writer.put(waiting)
            await eventually(lambda: writer.oldest_append_age_s() > 0.2)
            assert (writer.failure() or "").startswith("an append has waited ")
            refused = _append("a")
            writer.put(refused)
            with pytest.raises(LogUnavailableError, match="was not published"):
                await refused.done
            assert not waiting.done.done()
            other.rollback()
        assert (await in_time(waiting.done)).first.sequence == 1
        await eventually(lambda: writer.failure() is None)
        await _put(writer, time.time_ns())
        await eventually(lambda: writer.oldest_append_age_s() == 0)
    assert _sequences(file) == [1, 2]


async def test_a_disk_that_hangs_is_told_without_any_publisher(
    file: TightFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_watch, "LIMIT_S", 0.2)
    monkeypatch.setattr(sqlite_writer, "PROBE_INTERVAL_S", 0.01)
    with _reading(file) as other, _writing(file, RETENTION, monkeypatch) as writer:
        other.execute("BEGIN IMMEDIATE")
        await eventually(lambda: (writer.failure() or "").startswith("a write has taken "))
        assert writer.oldest_append_age_s() > 0.2
        other.rollback()
        await eventually(lambda: writer.failure() is None)


async def test_topics_that_have_messages_still_count_after_a_restart(file: TightFile) -> None:
    for topics, topic in ((1, "a"), (1, "b"), (2, "b")):
        writer = _writer(file, Retention(100, 3600, topics))
        writer.start()
        append = _append(topic)
        writer.put(append)
        await asyncio.wait([append.done])
        refused = isinstance(append.done.exception(), TopicLimitError)
        assert refused == ((topics, topic) == (1, "b"))
        writer.stop()
    with _reading(file) as connection:
        names = connection.execute("SELECT name FROM topics ORDER BY id").fetchall()
    assert names == [("a",), ("b",)]


def _broken(*_: object) -> None:
    raise LookupError("a fault")


async def test_a_fault_of_the_thread_leaves_no_publisher_without_an_answer(
    file: TightFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = Faults()
    writer = _writer(file, faults=faults)
    monkeypatch.setattr(writer, "_commit", _broken)
    taken = _append("a")
    writer.put(taken)
    writer.start()
    with pytest.raises(LogUnavailableError, match="may have been kept or not"):
        await in_time(taken.done)
    after = _append("a")
    writer.put(after)
    with pytest.raises(LogUnavailableError, match="was not published"):
        await in_time(after.done)
    assert faults.first is ServicePart.LOG_WRITER
    assert "failed" in (writer.failure() or "")
    writer.stop()


async def test_a_fault_while_the_thread_waits_is_no_silence_either(
    file: TightFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = Faults()
    writer = _writer(file, faults=faults)
    monkeypatch.setattr(writer, "_wait_for_appends", _broken)
    writer.start()
    await eventually(lambda: faults.first is ServicePart.LOG_WRITER)
    append = _append("a")
    writer.put(append)
    with pytest.raises(LogUnavailableError, match="was not published"):
        await in_time(append.done)
    writer.stop()


async def test_a_fault_in_a_transaction_undoes_it_and_the_thread_goes_on(
    file: TightFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = Faults()
    writer = _writer(file, faults=faults)
    writer.start()
    with monkeypatch.context() as patched:
        patched.setattr(append_transaction, "_insert", _broken)
        failing = _append("a")
        writer.put(failing)
        with pytest.raises(LogUnavailableError, match="was not published"):
            await in_time(failing.done)
    assert faults.first is ServicePart.LOG_WRITER
    good = _append("a")
    writer.put(good)
    assert (await in_time(good.done)).first.sequence == 1
    writer.stop()
    assert _sequences(file) == [1]


async def _written_together(
    file: TightFile, writer: SqliteWriter, appends: Sequence[Awaited]
) -> None:
    """Let appends wait until they are written in one transaction."""
    with _reading(file) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        first = _append("first")
        writer.put(first)
        await eventually(writer._queue.empty)
        for append in appends:
            writer.put(append)
        blocker.rollback()
    await in_time(first.done)


async def test_a_damaged_topic_refuses_its_own_appends_and_no_other_of_the_commit(
    file: TightFile, caplog: pytest.LogCaptureFixture
) -> None:
    writer = _writer(file)
    writer.start()
    for topic in ("a", "b"):
        append = _append(topic)
        writer.put(append)
        await in_time(append.done)
    with _reading(file) as vandal:
        vandal.execute(
            "CREATE TRIGGER damage BEFORE INSERT ON messages WHEN new.topic_id = 2 "
            "BEGIN SELECT RAISE(ABORT, 'a damaged page'); END"
        )
    healthy, damaged, new = _append("a", [b"0"] * 2), _append("b"), _append("c")
    await _written_together(file, writer, [healthy, damaged, new])
    assert (await in_time(healthy.done)).first.sequence == 2
    assert (await in_time(new.done)).first.sequence == 1
    with pytest.raises(LogUnavailableError, match=r"a damaged page.*was not published"):
        await in_time(damaged.done)
    # The log takes messages, so the process stays ready.
    assert writer.failure() is None
    assert "topic b is damaged" in caplog.text
    writer.stop()


async def test_a_head_that_is_lower_than_the_messages_of_its_topic_is_not_believed(
    file: TightFile,
) -> None:
    writer = _writer(file)
    writer.start()
    append = _append("a", [b"0"] * 5)
    writer.put(append)
    await in_time(append.done)
    writer.stop()
    with _reading(file) as vandal:
        vandal.execute("UPDATE topics SET head = 2")
        vandal.commit()
    writer = _writer(file)
    writer.start()
    append = _append("a")
    writer.put(append)
    assert (await in_time(append.done)).first.sequence == 6
    writer.stop()
