"""The side of a worker: a log that another process keeps."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from riptide.errors import (
    DamagedMessagesError,
    LogUnavailableError,
    TopicLimitError,
    UncertainAppendError,
)
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
from riptide.storage.shared.link import Link
from riptide_telemetry import ServicePart

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from riptide.message import Message
    from riptide.publication import Publication
    from riptide.storage.message_log import Feed
    from riptide.storage.shared.frames import Answer, Asked

logger = logging.getLogger("riptide.log")

# While there is no process of the log, another is being started.
RETRY_S = 0.05
# Time for that, before the worker is not ready and publishers are refused.
PATIENCE_S = 5.0
# A question that has not been answered after so long is given up.
ASK_TIMEOUT_S = 15.0
CHECK_INTERVAL_S = 1.0

A = TypeVar("A", bound="Answer")


class _Waiting(NamedTuple):
    """An append that has not been answered."""

    frame: frames.Append
    done: asyncio.Future[Receipt]
    since: float


class _Question(NamedTuple):
    """A question that has not been answered. It is asked again if the process has changed."""

    frame: Asked
    answer: asyncio.Future[Answer]


class _Topic:
    """Who follows a topic in this worker, and the newest message that they were pushed."""

    def __init__(self) -> None:
        self.feeds: dict[Feed, None] = {}
        self.newest = MessageId("", 0)
        # True while it is not known whether the log of a new process has what feeds were pushed.
        self.in_doubt = False
        self._held: Sequence[Message] = ()

    def push(self, messages: Sequence[Message]) -> None:
        if self.in_doubt:
            # Feeds learn by the last ones that they have missed those before.
            self._held = messages
            return
        self.newest = messages[-1].id
        for feed in tuple(self.feeds):
            feed.push(messages)

    def go_on(self) -> None:
        """Push what came while the topic was in doubt."""
        self.in_doubt = False
        held, self._held = self._held, ()
        if held and held[-1].sequence > self.newest.sequence:
            self.push(held)

    def lose(self, newest: MessageId) -> None:
        """Let feeds know that what they were pushed is not the log's."""
        self.newest = newest
        for feed in tuple(self.feeds):
            feed.lost()


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
        self._catching_up: set[asyncio.Task[None]] = set()
        self._connecting: asyncio.Task[None] | None = None
        self._welcomed = asyncio.Event()
        self._gone = asyncio.Event()
        # Since when there has been no process of the log, on the monotonic clock.
        self._lost_at: float | None = time.monotonic()
        self._numbers = itertools.count(1)
        # In the order in which they were made.
        self._unsent: dict[int, _Waiting] = {}
        self._sent: dict[int, _Waiting] = {}
        self._questions: dict[int, _Question] = {}
        self._topics: dict[str, _Topic] = {}
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
        topic, payloads, accepted, traceparent = publication
        request = next(self._numbers)
        frame = frames.Append(request, topic, list(payloads), *accepted, traceparent)
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
        followed = self._topics.setdefault(topic, _Topic())
        followed.feeds[feed] = None
        answer = await self._ask(
            lambda request: frames.Follow(request, topic, "", 0), frames.Followed
        )
        newest = MessageId(answer.epoch, answer.head)
        if newest.sequence > followed.newest.sequence:
            followed.newest = newest
        return ListedTopic(topic, Bounds(answer.earliest, answer.head), answer.epoch)

    def unfollow(self, topic: str, feed: Feed) -> None:
        """Push nothing more of the topic to the feed."""
        followed = self._topics.get(topic)
        if followed is None or feed not in followed.feeds:
            return
        del followed.feeds[feed]
        if not followed.feeds:
            del self._topics[topic]
            if self._link is not None:
                self._link.send(frames.Unfollow(topic))

    async def bounds(self, topic: str) -> Bounds:
        """Return which messages of the topic there are."""
        answer = await self._ask(lambda request: frames.AskBounds(request, topic), frames.BoundsAre)
        return Bounds(answer.earliest, answer.head)

    async def place(self, topic: str, position: MessageId) -> IdState:
        """Return whether a consumer can go on after an id."""
        answer = await self._ask(
            lambda request: frames.AskPlace(request, topic, *position), frames.StateIs
        )
        return IdState(answer.state)

    async def read(self, topic: str, after: int) -> list[Message]:
        """Return the messages that follow ``after``."""
        answer = await self._ask(
            lambda request: frames.AskMessages(request, topic, after), frames.MessagesAre
        )
        return frames.messages_of(answer.rows)

    async def names(self, after: str, limit: int) -> list[str]:
        """Return the names of topics with messages that come after ``after``."""
        answer = await self._ask(
            lambda request: frames.AskNames(request, after, limit), frames.NamesAre
        )
        return answer.names

    async def topics(self, names: Sequence[str]) -> list[ListedTopic]:
        """Return the topics of these names that have messages."""
        answer = await self._ask(
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

    def _silent_s(self) -> float:
        """Return how long ago the process of the log last said how it is."""
        return time.monotonic() - self._state_at

    async def _ask(self, make: Callable[[int], Asked], kind: type[A]) -> A:
        """Ask, and again whenever the process has changed, until there is an answer.

        Raises:
            DamagedMessagesError: the messages that were asked for are damaged.
            LogUnavailableError: there is no answer, or it is that the log cannot be read.

        """
        request = next(self._numbers)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        question = self._questions[request] = _Question(make(request), answer)
        if self._link is not None:
            self._link.send(question.frame)
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                found = await answer
        except TimeoutError:
            raise LogUnavailableError(
                f"the message log cannot be read (its process has not answered for "
                f"{ASK_TIMEOUT_S:.0f} s); try again later",
                retry_after=RETRY_AFTER_S,
            ) from None
        finally:
            self._questions.pop(request, None)
        if isinstance(found, frames.Failed):
            raise _error_of(found)
        assert isinstance(found, kind)  # noqa: S101  # each question has one kind of answer
        return found

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
            logger.warning("the process of the log has gone: waiting for another")
        self._refuse_sent("the process of the log ended before it had answered")

    def _receive(self, body: memoryview) -> None:
        match frames.of_log.decode(body):
            case frames.Record(topic, rows):
                self._push_soon(topic, rows)
            case frames.Kept(request, epoch, first, last):
                waiting = self._take(request)
                if waiting is not None and not waiting.done.done():
                    receipt = Receipt(MessageId(epoch, first), MessageId(epoch, last))
                    waiting.done.set_result(receipt)
            case frames.LogState() as state:
                self._take_state(state)
            case frames.Fault(part):
                self._faults.met_elsewhere(ServicePart(part), "the process of the log")
            case frames.Welcome(version):
                self._begin(version)
            case frames.Failed() as failed if failed.request in self._sent:
                waiting = self._take(failed.request)
                if waiting is not None and not waiting.done.done():
                    waiting.done.set_exception(_error_of(failed))
            case answer:
                question = self._questions.get(answer.request)
                if question is not None and not question.answer.done():
                    question.answer.set_result(answer)

    def _push_soon(self, topic: str, rows: Sequence[frames.Row]) -> None:
        followed = self._topics.get(topic)
        if followed is not None:
            # The answers before it are in the hands of publishers first.
            messages = frames.messages_of(rows)
            asyncio.get_running_loop().call_soon(followed.push, messages)

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
        for topic, followed in self._topics.items():
            self._follow_again(topic, followed)
        for question in self._questions.values():
            link.send(question.frame)
        unsent, self._unsent = self._unsent, {}
        for request, waiting in unsent.items():
            self._sent[request] = waiting
            link.send(waiting.frame)

    def _follow_again(self, topic: str, followed: _Topic) -> None:
        task = asyncio.create_task(self._catch_up(topic, followed))
        self._catching_up.add(task)
        task.add_done_callback(self._catching_up.discard)

    async def _catch_up(self, topic: str, followed: _Topic) -> None:
        """Follow a topic of a new process, and let feeds know what they have missed."""
        had = followed.newest
        followed.in_doubt = bool(had.sequence)
        link, has_failed = self._link, False
        try:
            while self._link is link and self._topics.get(topic) is followed:
                try:
                    await self._compare(topic, followed, had)
                except LogUnavailableError as error:
                    if not has_failed:
                        logger.warning("topic %s cannot be followed again yet: %s", topic, error)
                    has_failed = True
                    await asyncio.sleep(CHECK_INTERVAL_S)
                else:
                    return
        except DamagedMessagesError:
            # Consumers meet the damage when the next message makes them read.
            return
        finally:
            # With another process, another task is at it.
            if self._link is link:
                followed.go_on()

    async def _compare(self, topic: str, followed: _Topic, had: MessageId) -> None:
        answer = await self._ask(
            lambda request: frames.Follow(request, topic, *had), frames.Followed
        )
        if not answer.is_known:
            # Two processes may have come in a row, and both answers are of the second.
            if followed.newest == had:
                followed.lose(MessageId(answer.epoch, answer.head))
        elif answer.head > followed.newest.sequence:
            # The newest message shows the feeds that they have missed those before it, which
            # consumers read for themselves.
            followed.in_doubt = False
            newest = await self.read(topic, answer.head - 1)
            self._connection.gaps += 1
            if newest and newest[-1].sequence > followed.newest.sequence:
                followed.push(newest)

    def _take(self, request: int) -> _Waiting | None:
        waiting = self._sent.pop(request, None)
        if waiting is not None:
            self._under_way.end(1)
        return waiting

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


def _not_kept(reason: str) -> LogUnavailableError:
    return LogUnavailableError(
        f"the message could not be kept ({reason}) and was not published; try again later",
        retry_after=RETRY_AFTER_S,
    )


_PROBLEMS = {
    kind.__name__: kind for kind in (LogUnavailableError, TopicLimitError, UncertainAppendError)
}


def _error_of(failed: frames.Failed) -> Exception:
    """Return the error that the process of the log has met."""
    if failed.kind == DamagedMessagesError.__name__:
        return DamagedMessagesError(failed.topic, failed.first, failed.last)
    kind = _PROBLEMS.get(failed.kind, LogUnavailableError)
    return kind(failed.detail, retry_after=failed.retry_after)
