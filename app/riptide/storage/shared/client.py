"""The side of a worker: a log that another process keeps."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, NamedTuple

from riptide.errors import LogUnavailableError
from riptide.message import MessageId, Receipt
from riptide.process.faults import Faults
from riptide.storage.damage import Damage
from riptide.storage.log_watch import LIMIT_S, AppendsUnderWay
from riptide.storage.message_log import (
    RETRY_AFTER_S,
    Bounds,
    Connection,
    IdState,
    ListedTopic,
    uncertain,
)
from riptide.storage.shared import frames
from riptide.storage.shared.followed_topics import FollowedTopics
from riptide.storage.shared.link import Link
from riptide.storage.shared.questions import Questions, error_of
from riptide_telemetry import ServicePart

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from riptide.message import Message
    from riptide.publication import Publication
    from riptide.storage.message_log import Feed
    from riptide.storage.shared.frames import Asked, OfLog

logger = logging.getLogger("riptide.log")

# While there is no process of the log, another is being started.
RETRY_S = 0.05
# Time for that, before the worker is not ready and publishers are refused.
PATIENCE_S = 5.0
CHECK_INTERVAL_S = 1.0


class _Waiting(NamedTuple):
    """An append that has not been answered."""

    frame: frames.Append
    done: asyncio.Future[Receipt]
    since: float


class SharedLog:
    """A ``MessageLog`` in another process of this machine, reached by a socket at ``path``.

    If that process ends, another takes its place. Streams stay open meanwhile, and questions are
    asked again. Of appends that were under way nobody knows whether they were kept.
    """

    def __init__(self, path: Path, faults: Faults | None = None) -> None:
        self._faults = faults or Faults()
        self.damage = Damage()
        self._connection = Connection(is_up=False)
        self._path = path
        self._link: Link | None = None
        # Connected, and not welcomed yet.
        self._candidate: Link | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._welcomed = asyncio.Event()
        self._gone = asyncio.Event()
        # Since when there has been no process of the log, on the monotonic clock.
        self._lost_at: float | None = time.monotonic()
        self._questions = Questions(self._send)
        self._topics = FollowedTopics(self._questions, self._connection)
        # In the order in which they were made.
        self._unsent: dict[int, _Waiting] = {}
        self._sent: dict[int, _Waiting] = {}
        self._state = frames.LogState()
        self._state_at = time.monotonic()
        self._under_way = AppendsUnderWay()

    @property
    def connection(self) -> Connection:
        """How the process of the log has been reached. It is not while it does not answer."""
        self._connection.is_up = self._link is not None and self._silent_s() <= LIMIT_S
        return self._connection

    def followed_count(self) -> int:
        """Return how many topics have feeds."""
        return len(self._topics)

    async def open(self) -> None:
        """Wait until the process of the log has opened it."""
        self._connecting = asyncio.create_task(self._stay_connected())
        self._connecting.add_done_callback(self._note_end)
        welcomed = asyncio.create_task(self._welcomed.wait())
        try:
            await asyncio.wait([welcomed, self._connecting], return_when=asyncio.FIRST_COMPLETED)
        finally:
            welcomed.cancel()
        if self._connecting.done():
            self._connecting.result()

    async def close(self) -> None:
        """Wait for the appends that wait, then leave the log."""
        waiting = [append.done for append in (*self._sent.values(), *self._unsent.values())]
        if waiting:
            await asyncio.wait(waiting, timeout=PATIENCE_S)
        if self._connecting is not None:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connecting
        if self._link is not None:
            self._link.close()
        self._refuse_sent("the worker has ended")
        self._refuse_unsent(0.0)

    def append(self, publication: Publication) -> asyncio.Future[Receipt]:
        """Send the payloads to the process of the log."""
        done: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        reason = self._unreachable() or self._under_way.reason()
        if reason is not None:
            done.set_exception(_not_kept(reason))
            return done
        request = next(self._questions.numbers)
        frame = frames.Append(request, publication)
        waiting = _Waiting(frame, done, time.monotonic())
        self._under_way.begin()
        if self._link is None:
            self._unsent[request] = waiting
        else:
            self._sent[request] = waiting
            self._link.send(frame)
        return done

    async def follow(self, topic: str, feed: Feed) -> ListedTopic:
        """Push the topic's messages to the feed from now on."""
        return await self._topics.follow(topic, feed)

    def unfollow(self, topic: str, feed: Feed) -> None:
        """Push nothing more of the topic to the feed."""
        if self._topics.unfollow(topic, feed) and self._link is not None:
            self._link.send(frames.Unfollow(topic))

    async def bounds(self, topic: str) -> Bounds:
        """Return which messages of the topic there are."""
        answer = await self._questions.ask(
            lambda request: frames.AskBounds(request, topic), frames.BoundsAre
        )
        return Bounds(answer.earliest, answer.head)

    async def place(self, topic: str, position: MessageId) -> IdState:
        """Return whether a consumer can go on after an id."""
        answer = await self._questions.ask(
            lambda request: frames.AskPlace(request, topic, *position), frames.StateIs
        )
        return IdState(answer.state)

    async def read(self, topic: str, after: int) -> list[Message]:
        """Return the messages that follow ``after``."""
        answer = await self._questions.ask(
            lambda request: frames.AskMessages(request, topic, after), frames.MessagesAre
        )
        return answer.messages

    async def names(self, after: str, limit: int) -> list[str]:
        """Return the names of topics with messages that come after ``after``."""
        answer = await self._questions.ask(
            lambda request: frames.AskNames(request, after, limit), frames.NamesAre
        )
        return answer.names

    async def topics(self, names: Sequence[str]) -> list[ListedTopic]:
        """Return the topics of these names that have messages."""
        answer = await self._questions.ask(
            lambda request: frames.AskTopics(request, list(names)), frames.TopicsAre
        )
        return [
            ListedTopic(name, Bounds(earliest, head), epoch)
            for name, earliest, head, epoch in answer.topics
        ]

    def size_bytes(self) -> int:
        """Return the size of the log."""
        return self._state.size_bytes

    def wal_bytes(self) -> int:
        """Return the size of the write-ahead log."""
        return self._state.wal_bytes

    def free_bytes(self) -> int:
        """Return how many bytes of the log are free."""
        return self._state.free_bytes

    def checkpoint_age_s(self) -> float:
        """Return how long something has waited to be moved from the write-ahead log."""
        return self._state.checkpoint_age_s

    async def watch(self) -> None:
        """Refuse what waits for too long for a process of the log, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            self._refuse_unsent(time.monotonic() - PATIENCE_S)

    def oldest_append_age_s(self) -> float:
        """Return how long the oldest append or other write under way has taken."""
        return max(self._under_way.age_s(), self._state.oldest_append_age_s)

    def append_stall_s(self) -> float:
        """Return the longest time of the last minute in which appends waited for an answer."""
        return max(self._under_way.longest_stall_s(), self._state.append_stall_s)

    def unavailable_reason(self) -> str | None:
        """Return why the log cannot be written or read at the moment."""
        return self._unreachable() or self._state.unavailable_reason

    def clock_doubt(self) -> str | None:
        """Return why the clock of the log is in doubt; None if it is not."""
        return self._state.clock_doubt

    def _unreachable(self) -> str | None:
        if self._lost_at is not None:
            lost_s = time.monotonic() - self._lost_at
            if lost_s > PATIENCE_S:
                return f"the process of the log has not been there for {lost_s:.0f} s"
            return None
        silent_s = self._silent_s()
        if silent_s > LIMIT_S:
            return f"the process of the log has not answered for {silent_s:.0f} s"
        return None

    def _send(self, frame: Asked) -> None:
        if self._link is not None:
            self._link.send(frame)

    def _silent_s(self) -> float:
        """Return how long ago the process of the log last said how it is."""
        return time.monotonic() - self._state_at

    async def _stay_connected(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._gone.clear()
            link = self._candidate = Link(self._receive, self._gone.set)
            try:
                await loop.create_unix_connection(lambda: link, str(self._path))  # noqa: B023  # called before the next turn
            except OSError:
                await asyncio.sleep(RETRY_S)
                continue
            try:
                await self._gone.wait()
            except asyncio.CancelledError:
                link.abort()
                raise
            self._lose_link()
            await asyncio.sleep(RETRY_S)

    def _note_end(self, connecting: asyncio.Task[None]) -> None:
        if not connecting.cancelled() and (error := connecting.exception()) is not None:
            self._faults.report(ServicePart.LOG_WATCH, error)

    def _lose_link(self) -> None:
        if self._link is not None:
            self._link, self._lost_at = None, time.monotonic()
            self._topics.lose()
            logger.warning("the process of the log has gone: waiting for another")
        self._refuse_sent("the process of the log ended before it had answered")

    def _receive(self, body: memoryview) -> None:
        answered = 0
        for frame in frames.of_log.decode(body):
            if isinstance(frame, frames.Kept | frames.Failed) and frame.request in self._sent:
                answered += 1
                _settle(self._sent.pop(frame.request).done, frame)
            else:
                self._take(frame)
        self._under_way.end(answered)

    def _take(self, frame: OfLog) -> None:
        match frame:
            case frames.Record(topic, messages):
                self._topics.push_soon(topic, messages)
            case frames.LogState() as state:
                self._take_state(state)
            case frames.Welcome(version):
                self._begin(version)
            case frames.Fault(part):
                self._faults.met_elsewhere(ServicePart(part), "the process of the log")
            case frames.Failed() as failed:
                self._questions.take_failure(failed)
            case answer:
                self._questions.take(answer)

    def _begin(self, version: int) -> None:
        """Go on with a process of the log that has come."""
        link = self._candidate
        assert link is not None  # noqa: S101  # it has brought the welcome
        if version != frames.VERSION:
            logger.error("the process of the log is of another version: restart the service")
            link.abort()
            return
        self._link = link
        if self._welcomed.is_set():
            self._connection.reconnects += 1
            logger.info("the process of the log is there again")
        self._welcomed.set()
        self._lost_at, self._state_at = None, time.monotonic()
        self._questions.ask_again(link)
        self._topics.follow_again()
        unsent, self._unsent = self._unsent, {}
        for request, waiting in unsent.items():
            self._sent[request] = waiting
            link.send(waiting.frame)

    def _take_state(self, state: frames.LogState) -> None:
        self._state, self._state_at = state, time.monotonic()
        self.damage.unreadable_messages = state.unreadable_messages
        self.damage.lost_frames = state.lost_frames

    def _refuse_sent(self, reason: str) -> None:
        sent, self._sent = self._sent, {}
        self._under_way.end(len(sent))
        for waiting in sent.values():
            if not waiting.done.done():
                waiting.done.set_exception(uncertain(reason))

    def _refuse_unsent(self, before: float) -> None:
        """Refuse appends that were made before a moment and not sent; 0 for all."""
        for request, waiting in list(self._unsent.items()):
            if before and waiting.since > before:
                break
            del self._unsent[request]
            self._under_way.end(1)
            if not waiting.done.done():
                waiting.done.set_exception(_not_kept("the process of the log is not there"))


def _settle(done: asyncio.Future[Receipt], answer: frames.Kept | frames.Failed) -> None:
    """Give an append its answer, unless its publisher has gone."""
    if done.done():
        return
    if isinstance(answer, frames.Failed):
        done.set_exception(error_of(answer))
    else:
        epoch = answer.epoch
        done.set_result(Receipt(MessageId(epoch, answer.first), MessageId(epoch, answer.last)))


def _not_kept(reason: str) -> LogUnavailableError:
    return LogUnavailableError(
        f"the message could not be kept ({reason}) and was not published; try again later",
        retry_after=RETRY_AFTER_S,
    )
