"""What the process of the log does for workers: bare connections ask it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from riptide.errors import DamagedMessagesError, TopicLimitError
from riptide.message import Acceptance
from riptide.publication import Publication
from riptide.storage.memory import MemoryLog
from riptide.storage.message_log import Retention, uncertain
from riptide.storage.shared import frames, server
from riptide.storage.shared.link import Link
from riptide.storage.shared.server import failed
from tests.app.messages import published
from tests.app.storage.appending import append
from tests.app.storage.shared.sharing import listen, serving
from tests.waiting import eventually, in_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from riptide.message import MessageId
    from riptide.storage.message_log import Answer, IdState
    from riptide.storage.shared.frames import OfLog
    from riptide.storage.shared.server import LogServer


class Worker:
    """A connection to the log's process, and what came on it."""

    def __init__(self) -> None:
        self.frames: list[OfLog] = []
        self.has_ended = False
        self.link = Link(lambda body: self.frames.extend(frames.of_log.decode(body)), self._end)

    def _end(self) -> None:
        self.has_ended = True

    async def connect(self, path: Path) -> Worker:
        await asyncio.get_running_loop().create_unix_connection(lambda: self.link, str(path))
        return self

    async def answer(self, request: int) -> OfLog:
        """Return the answer to a request."""
        return await eventually(
            lambda: next((f for f in self.frames if getattr(f, "request", 0) == request), None)
        )

    def records(self) -> list[frames.Record]:
        return [frame for frame in self.frames if isinstance(frame, frames.Record)]


@pytest.fixture
async def log() -> MemoryLog:
    return MemoryLog(Retention(1000, 3600, 1))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.socket"


@pytest.fixture
async def served(log: MemoryLog, path: Path) -> AsyncIterator[LogServer]:
    with listen(path) as listener:
        async with serving(log, listener) as served:
            yield served


async def test_a_worker_is_welcomed_and_told_how_the_log_is_again_and_again(
    served: LogServer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del served
    monkeypatch.setattr(server, "STATE_INTERVAL_S", 0.01)
    worker = await Worker().connect(path)
    await eventually(lambda: len(worker.frames) >= 2)
    assert worker.frames[0] == frames.Welcome(frames.VERSION)
    assert isinstance(worker.frames[1], frames.LogState)
    await eventually(lambda: len(worker.frames) >= 4)
    assert {type(frame) for frame in worker.frames[1:]} == {frames.LogState}


async def test_a_publisher_is_answered_before_its_message_is_a_record_and_all_get_the_same(
    served: LogServer, path: Path
) -> None:
    del served
    workers = [await Worker().connect(path) for _ in range(3)]
    for worker in workers[:2]:
        worker.link.send(frames.Follow(1, "a", "", 0))
        await worker.answer(1)
    workers[0].link.send(frames.Append(2, Publication("a", [b"1", b"2"], Acceptance(5, 6))))
    kept = await workers[0].answer(2)
    assert isinstance(kept, frames.Kept)
    assert (kept.first, kept.last) == (1, 2)
    await eventually(lambda: all(worker.records() for worker in workers[:2]))
    for worker in workers[:2]:
        (record,) = worker.records()
        assert [msgspec.structs.astuple(message)[:6] for message in record.messages] == [
            (kept.epoch, 1, 5, 6, b"1", ""),
            (kept.epoch, 2, 5, 6, b"2", ""),
        ]
    (record,) = workers[0].records()
    assert workers[0].frames.index(kept) < workers[0].frames.index(record)
    assert workers[2].records() == []


class AnswersLate(MemoryLog):
    """A log whose appends are done when a test says so."""

    def __init__(self, retention: Retention) -> None:
        super().__init__(retention)
        self.appends: list[Answer] = []

    def append_for(self, publication: Publication, answer: Answer) -> None:
        del publication
        assert answer.get_loop() is asyncio.get_running_loop()
        assert not answer.done()
        self.appends.append(answer)


async def test_appends_are_answered_in_their_order_and_each_once(path: Path) -> None:
    log = AnswersLate(Retention(1000, 3600))
    with listen(path) as listener:
        async with serving(log, listener):
            worker = await Worker().connect(path)
            for request in (1, 2, 3):
                worker.link.send(frames.Append(request, published("a", [b"1"])))
            await eventually(lambda: len(log.appends) == 3)
            log.appends[0].set_result(published("a", [b"1"]).receipt("0" * 8, 1))
            await worker.answer(1)
            log.appends[1].set_exception(uncertain("the disk hangs"))
            log.appends[2].set_result(published("a", [b"1"]).receipt("0" * 8, 2))
            await worker.answer(3)
    answers = [f for f in worker.frames if isinstance(f, frames.Kept | frames.Failed)]
    assert [answer.request for answer in answers] == [1, 2, 3]
    assert [type(answer) for answer in answers] == [frames.Kept, frames.Failed, frames.Kept]


async def test_nothing_more_comes_of_a_topic_that_is_left(
    served: LogServer, path: Path, log: MemoryLog
) -> None:
    worker = await Worker().connect(path)
    worker.link.send(frames.Follow(1, "a", "", 0))
    await worker.answer(1)
    worker.link.send(frames.Unfollow("a"))
    await eventually(lambda: not served._feeds)
    await append(log, "a", b"1")
    worker.link.send(frames.AskBounds(2, "a"))
    assert await worker.answer(2) == frames.BoundsAre(2, 1, 1)
    assert worker.records() == []
    assert not log._feeds._by_topic


class LateFollow(MemoryLog):
    """A log that takes its time to be followed."""

    def __init__(self, retention: Retention) -> None:
        super().__init__(retention)
        self.goes_on = asyncio.Event()

    async def place(self, topic: str, position: MessageId) -> IdState:
        await self.goes_on.wait()
        return await super().place(topic, position)


@pytest.mark.parametrize("comes_back", [False, True])
async def test_a_topic_that_is_left_before_it_is_followed_leaves_nothing_behind(
    path: Path, *, comes_back: bool
) -> None:
    log = LateFollow(Retention(1000, 3600))
    with listen(path) as listener:
        async with serving(log, listener) as served:
            worker = await Worker().connect(path)
            worker.link.send(frames.Follow(1, "a", log.epoch, 3))
            worker.link.send(frames.Unfollow("a"))
            if comes_back:
                worker.link.send(frames.Follow(2, "a", "", 0))
                await worker.answer(2)
            log.goes_on.set()
            await worker.answer(1)
            assert len(log._feeds._by_topic.get("a", ())) == comes_back
            assert len(served._feeds) == comes_back


async def test_a_worker_that_goes_is_forgotten(
    served: LogServer, path: Path, log: MemoryLog
) -> None:
    workers = [await Worker().connect(path) for _ in range(2)]
    for worker in workers:
        worker.link.send(frames.Follow(1, "a", "", 0))
        await worker.answer(1)
    leaving = asyncio.create_task(served.wait_until_left())
    workers[0].link.abort()
    await eventually(lambda: len(served._peers) == 1)
    assert len(served._feeds["a"].peers) == 1
    assert not leaving.done()
    workers[1].link.abort()
    await in_time(leaving)
    assert not served._feeds
    assert not log._feeds._by_topic


async def test_a_follower_is_told_whether_what_it_has_had_is_the_log_s(
    served: LogServer, path: Path, log: MemoryLog
) -> None:
    del served
    await append(log, "a", b"1", b"2")
    worker = await Worker().connect(path)
    cases = {("", 0): True, (log.epoch, 2): True, (log.epoch, 3): False, ("ffffffff", 1): False}
    for request, ((epoch, last), is_known) in enumerate(cases.items(), 1):
        worker.link.send(frames.Follow(request, "a", epoch, last))
        assert await worker.answer(request) == frames.Followed(request, 1, 2, log.epoch, is_known)


async def test_questions_are_answered_also_while_appends_fail(
    served: LogServer, path: Path, log: MemoryLog
) -> None:
    del served
    await append(log, "a", b"1")
    worker = await Worker().connect(path)
    worker.link.send(frames.Append(1, published("b", [b"1"])))
    refused = await worker.answer(1)
    assert isinstance(refused, frames.Failed)
    assert (refused.kind, refused.retry_after) == (TopicLimitError.__name__, 60)
    worker.link.send(frames.AskNames(2, "", 10))
    assert await worker.answer(2) == frames.NamesAre(2, ["a"])
    worker.link.send(frames.AskTopics(3, ["a", "b"]))
    assert await worker.answer(3) == frames.TopicsAre(3, [("a", 1, 1, log.epoch)])
    worker.link.send(frames.AskPlace(4, "a", log.epoch, 1))
    assert await worker.answer(4) == frames.StateIs(4, "known")


async def test_a_fault_while_a_question_is_answered_is_the_answer_and_is_logged(
    served: LogServer, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    del served

    async def fail(*_: object) -> None:
        raise LookupError("a fault that was put here")

    monkeypatch.setattr(MemoryLog, "read", fail)
    worker = await Worker().connect(path)
    worker.link.send(frames.AskMessages(1, "a", 0))
    answer = await worker.answer(1)
    assert isinstance(answer, frames.Failed)
    assert (answer.kind, answer.detail) == (
        "LogUnavailableError",
        "the log has failed (LookupError)",
    )
    assert "a fault that was put here" in caplog.text


def test_errors_keep_what_workers_need_to_know() -> None:
    damaged = failed(1, DamagedMessagesError("a", 3, 4))
    assert (damaged.kind, damaged.topic, damaged.first, damaged.last) == (
        "DamagedMessagesError",
        "a",
        3,
        4,
    )
    unknown = failed(2, uncertain("the disk hangs"))
    assert (unknown.kind, unknown.retry_after) == ("UncertainAppendError", 5)
    assert "the disk hangs" in unknown.detail


async def test_feeds_that_lost_what_they_had_cut_workers_off(
    served: LogServer, path: Path, log: MemoryLog
) -> None:
    del served
    worker = await Worker().connect(path)
    worker.link.send(frames.Follow(1, "a", "", 0))
    await worker.answer(1)
    for feed in log._feeds._by_topic["a"]:
        feed.lost()
    await eventually(lambda: worker.has_ended)
