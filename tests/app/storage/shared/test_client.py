"""A worker's log through what happens to the process that keeps it.

What it promises as a ``MessageLog`` is tested in tests/app/storage/test_message_log.py.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from riptide.errors import (
    LogUnavailableError,
    UncertainAppendError,
)
from riptide.storage.memory import MemoryLog
from riptide.storage.message_log import Bounds, Retention
from riptide.storage.shared import client, server
from riptide.storage.shared.client import SharedLog
from riptide_telemetry import ServicePart
from tests.app.messages import published
from tests.app.storage.appending import append
from tests.app.storage.feed import ListFeed
from tests.app.storage.shared.sharing import KEEP, Life, keep_meanwhile, serving, sqlite_log
from tests.waiting import eventually, in_time, turns

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from riptide.publication import Publication
    from riptide.storage.message_log import Answer


async def test_a_log_waits_for_its_first_process(
    shared: SharedLog, listener: socket.socket
) -> None:
    appended = shared.append(published("a", [b"1"]))
    asked = asyncio.create_task(shared.bounds("b"))
    await turns()
    assert not appended.done()
    async with Life(MemoryLog(KEEP), listener, shared):
        assert (await in_time(appended)).first.sequence == 1
        assert await in_time(asked) == Bounds(1, 0)
        assert shared.unavailable_reason() is None


class Keeps(MemoryLog):
    """A log that answers no append before it is told to."""

    def __init__(self, retention: Retention) -> None:
        super().__init__(retention)
        self.waiting: list[Answer] = []

    def append_for(self, publication: Publication, answer: Answer) -> None:
        del publication
        self.waiting.append(answer)


async def test_of_appends_that_were_sent_nobody_knows_and_others_wait_for_the_next_process(
    shared: SharedLog, listener: socket.socket
) -> None:
    silent = Keeps(KEEP)
    async with Life(silent, listener, shared):
        sent = shared.append(published("a", [b"1"]))
        await eventually(lambda: silent.waiting)
    with pytest.raises(UncertainAppendError, match="ended before it had answered"):
        await in_time(sent)
    unsent = [shared.append(published("a", [b"%d" % n])) for n in range(3)]
    await turns()
    assert not any(append.done() for append in unsent)
    async with Life(MemoryLog(KEEP), listener, shared):
        receipts = [await in_time(append) for append in unsent]
        assert [receipt.first.sequence for receipt in receipts] == [1, 2, 3]
    assert shared.oldest_append_age_s() == 0


async def test_appends_that_were_not_sent_are_refused_once_patience_has_ended(
    shared: SharedLog, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PATIENCE_S", 0.3)
    monkeypatch.setattr(client, "CHECK_INTERVAL_S", 0.02)
    async with Life(MemoryLog(KEEP), listener, shared):
        pass
    watching = asyncio.create_task(shared.watch())
    unsent = shared.append(published("a", [b"1"]))
    with pytest.raises(LogUnavailableError, match="was not published"):
        await in_time(unsent)
    await eventually(lambda: shared.unavailable_reason() is not None)
    assert "has not been there for" in str(shared.unavailable_reason())
    with pytest.raises(LogUnavailableError, match="was not published"):
        await in_time(shared.append(published("a", [b"2"])))
    async with Life(MemoryLog(KEEP), listener, shared) as log:
        assert shared.unavailable_reason() is None
        assert await append(shared, "a", b"3") == 1
        assert await log.bounds("a") == Bounds(1, 1)
    watching.cancel()


async def test_a_process_that_does_not_answer_makes_the_worker_unready(
    shared: SharedLog, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "LIMIT_S", 0.2)
    async with Life(MemoryLog(KEEP), listener, shared):
        await eventually(lambda: shared.unavailable_reason() is not None)
        assert "has not answered for" in str(shared.unavailable_reason())
        with pytest.raises(LogUnavailableError, match="was not published"):
            await in_time(shared.append(published("a", [b"1"])))
        monkeypatch.setattr(server, "STATE_INTERVAL_S", 0.01)
        await eventually(lambda: shared.unavailable_reason() is None)


async def test_the_state_of_the_log_is_that_of_each_worker(
    shared: SharedLog, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "STATE_INTERVAL_S", 0.01)
    log = MemoryLog(KEEP)
    async with Life(log, listener, shared):
        monkeypatch.setattr(log, "unavailable_reason", lambda: "the disk is full")
        monkeypatch.setattr(log, "clock_doubt", lambda: "the clock was set back")
        log.damage.unreadable_messages, log.damage.lost_frames = 3, 4
        for number, name in enumerate(
            ("size_bytes", "wal_bytes", "free_bytes", "checkpoint_age_s", "append_stall_s"), 10
        ):
            monkeypatch.setattr(log, name, lambda number=number: number)
        await eventually(shared.clock_doubt)
        assert shared.unavailable_reason() == "the disk is full"
        assert (shared.damage.unreadable_messages, shared.damage.lost_frames) == (3, 4)
        assert (shared.size_bytes(), shared.wal_bytes(), shared.free_bytes()) == (10, 11, 12)
        assert (shared.checkpoint_age_s(), shared.append_stall_s()) == (13, 14)


async def test_a_process_of_another_version_is_not_talked_to(
    shared: SharedLog,
    listener: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(client, "RETRY_S", 0.01)
    begin = shared._begin
    monkeypatch.setattr(shared, "_begin", lambda version: begin(version + 1))
    async with serving(MemoryLog(KEEP), listener):
        await eventually(lambda: "of another version: restart the service" in caplog.text)
        assert shared._link is None
        monkeypatch.setattr(shared, "_begin", begin)
        assert await append(shared, "a", b"1") == 1


async def test_appends_that_wait_at_the_end_are_waited_for(
    path: Path, listener: socket.socket
) -> None:
    async with serving(MemoryLog(KEEP), listener):
        log = SharedLog(path)
        await in_time(log.open())
        appended = log.append(published("a", [b"1"]))
        await in_time(log.close())
        assert appended.result().first.sequence == 1


async def test_it_counts_how_the_process_of_the_log_was_reached(
    shared: SharedLog, listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = ListFeed()
    assert not shared.connection.is_up
    async with Life(sqlite_log(tmp_path), listener, shared):
        assert (shared.connection.is_up, shared.connection.reconnects) == (True, 0)
        await in_time(shared.follow("a", feed))
        assert shared.followed_count() == 1
        await append(shared, "a", b"1")
        await eventually(lambda: feed.sequences == [1])
    assert not shared.connection.is_up
    async with Life(sqlite_log(tmp_path), listener, shared):
        assert (shared.connection.is_up, shared.connection.reconnects) == (True, 1)
        await append(shared, "a", b"2")
        await eventually(lambda: feed.sequences == [1, 2])
        assert sum(shared.connection.gaps.values()) == 0
    await keep_meanwhile(tmp_path, b"3")
    async with Life(sqlite_log(tmp_path), listener, shared):
        await eventually(lambda: feed.sequences == [1, 2, 3])
        assert (shared.connection.reconnects, sum(shared.connection.gaps.values())) == (2, 1)
        monkeypatch.setattr(client, "LIMIT_S", -1.0)
        assert not shared.connection.is_up


async def test_a_fault_of_the_log_s_process_is_told_and_does_not_end_the_worker(
    shared: SharedLog, listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(MemoryLog(KEEP), listener) as served:
        await eventually(lambda: shared._link is not None)
        served.tell_fault(ServicePart.LOG_WRITER)
        await eventually(lambda: "a fault of Riptide in log_writer has ended" in caplog.text)
    assert shared._faults.first is None
