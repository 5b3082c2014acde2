"""The side of the log's process: serves a log to the workers."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from riptide.errors import DamagedMessagesError, LogUnavailableError, ProblemError
from riptide.message import MessageId
from riptide.storage.message_log import IdState
from riptide.storage.shared import frames
from riptide.storage.shared.link import Link

if TYPE_CHECKING:
    import socket
    from collections.abc import Coroutine, Sequence

    from riptide.message import Message, Receipt
    from riptide.storage.message_log import LocalLog
    from riptide.storage.shared.frames import Answer, Asked, OfWorker
    from riptide_telemetry import ServicePart

logger = logging.getLogger("riptide.log")

# How often workers are told how the log is.
STATE_INTERVAL_S = 1.0


class LogServer:
    """Serves an open log on a listening socket."""

    def __init__(self, log: LocalLog) -> None:
        self._log = log
        self._peers: set[_Peer] = set()
        self._all_left = asyncio.Event()
        self._all_left.set()
        self._feeds: dict[str, _TopicFeed] = {}

    async def run(self, listener: socket.socket) -> None:
        """Serve until cancelled; what is being answered then is answered no more."""
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(self._accept, sock=listener)
        try:
            while True:
                await asyncio.sleep(STATE_INTERVAL_S)
                state = frames.packet([self.state()])
                for peer in self._peers:
                    peer.link.send_packet(state)
        finally:
            server.close()
            for peer in tuple(self._peers):
                peer.link.close()

    def state(self) -> frames.LogState:
        """Return how the log is."""
        log = self._log
        return frames.LogState(
            log.unavailable_reason(),
            log.oldest_append_age_s(),
            log.append_stall_s(),
            log.size_bytes(),
            log.wal_bytes(),
            log.free_bytes(),
            log.checkpoint_age_s(),
            log.damage.unreadable_messages,
            log.damage.lost_frames,
            log.clock_doubt(),
        )

    def tell_fault(self, part: ServicePart) -> None:
        """Let one worker count a fault of this process, which has no metrics."""
        for peer in self._peers:
            peer.link.send(frames.Fault(part.value))
            return

    async def wait_until_left(self) -> None:
        """Wait until no worker is connected."""
        await self._all_left.wait()

    def follow(self, topic: str, peer: _Peer) -> _TopicFeed:
        """Send the topic's messages to the peer from now on, and return the topic's feed."""
        feed = self._feeds.setdefault(topic, _TopicFeed(topic))
        feed.peers[peer] = None
        return feed

    def unfollow(self, topic: str, peer: _Peer) -> None:
        """Send no more messages of the topic to the peer."""
        feed = self._feeds.get(topic)
        if feed is not None:
            feed.peers.pop(peer, None)
            if not feed.peers:
                del self._feeds[topic]
                self._log.unfollow(topic, feed)

    def leave(self, peer: _Peer) -> None:
        """Forget a peer that has gone."""
        self._peers.discard(peer)
        if not self._peers:
            self._all_left.set()
        for topic in peer.topics:
            self.unfollow(topic, peer)

    def _accept(self) -> Link:
        peer = _Peer(self._log, self)
        self._peers.add(peer)
        self._all_left.clear()
        peer.link.send(frames.Welcome(frames.VERSION))
        peer.link.send(self.state())
        return peer.link


class _TopicFeed:
    """Sends what a topic is pushed to all workers that follow it, encoded once."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self.peers: dict[_Peer, None] = {}

    def push(self, messages: Sequence[Message]) -> None:
        record = frames.packet([frames.Record(self._topic, messages)])
        for peer in tuple(self.peers):
            peer.link.send_packet(record)

    def lost(self) -> None:
        """Cut all off: they follow anew, and are told that what they have had is not the log's."""
        for peer in tuple(self.peers):
            peer.link.abort()


class _Peer:
    """A worker."""

    def __init__(self, log: LocalLog, server: LogServer) -> None:
        self._log = log
        self._server = server
        self.link = Link(self._receive, self._leave)
        self.topics: set[str] = set()
        self._answering: set[asyncio.Task[None]] = set()

    def _leave(self) -> None:
        self._server.leave(self)
        for task in self._answering:
            task.cancel()

    def _receive(self, body: memoryview) -> None:
        for frame in frames.of_worker.decode(body):
            self._take(frame)

    def _take(self, frame: OfWorker) -> None:
        match frame:
            case frames.Append(request, publication):
                self._log.append_for(publication, _Publisher(self.link, request))
            case frames.Unfollow(topic):
                self.topics.discard(topic)
                self._server.unfollow(topic, self)
            case frames.Follow() as follow:
                # At once, so that nothing that is kept from now on is missed.
                self.topics.add(follow.topic)
                self._answer_soon(
                    follow, self._follow(follow, self._server.follow(follow.topic, self))
                )
            case asked:
                self._answer_soon(asked, self._look_up(asked))

    def _answer_soon(self, asked: Asked, answer: Coroutine[None, None, Answer]) -> None:
        task = asyncio.create_task(self._answer(asked.request, answer))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, request: int, answer: Coroutine[None, None, Answer]) -> None:
        try:
            frame = await answer
        except (ProblemError, DamagedMessagesError) as error:
            frame = failed(request, error)
        except Exception as error:
            logger.exception("a worker's question could not be answered")
            frame = failed(request, error)
        self.link.send(frame)

    async def _follow(self, follow: frames.Follow, feed: _TopicFeed) -> Answer:
        is_known = True
        if follow.last:
            had = MessageId(follow.epoch, follow.last)
            is_known = await self._log.place(follow.topic, had) is not IdState.NEVER
        _, bounds, epoch = await self._log.follow(follow.topic, feed)
        if not feed.peers:
            # All workers have left the topic meanwhile, and a new feed may have taken its place.
            self._log.unfollow(follow.topic, feed)
        return frames.Followed(follow.request, bounds.earliest, bounds.head, epoch, is_known)

    async def _look_up(self, asked: Asked) -> Answer:
        log, request = self._log, asked.request
        match asked:
            case frames.AskMessages():
                return frames.MessagesAre(request, await log.read(asked.topic, asked.after))
            case frames.AskBounds():
                return frames.BoundsAre(request, *await log.bounds(asked.topic))
            case frames.AskPlace():
                position = MessageId(asked.epoch, asked.sequence)
                state = await log.place(asked.topic, position)
                return frames.StateIs(request, state.value)
            case frames.AskNames():
                return frames.NamesAre(request, await log.names(asked.after, asked.limit))
            case frames.AskTopics():
                listed = await log.topics(asked.names)
                topics = [(name, *bounds, epoch) for name, bounds, epoch in listed]
                return frames.TopicsAre(request, topics)
        raise AssertionError(asked)


class _Publisher:
    """A publisher in a worker: sends it its answer.

    The log gives an answer before it pushes the messages, so that publishers go on while those are
    encoded for who follows.
    """

    __slots__ = ("_link", "_request")

    def __init__(self, link: Link, request: int) -> None:
        self._link = link
        self._request = request

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop of the process."""
        return self._link.loop

    def done(self) -> bool:
        """Return False: the worker wants every answer."""
        return False

    def set_result(self, result: Receipt, /) -> None:
        """Send what was kept."""
        first, last = result
        self._link.send(frames.Kept(self._request, first.epoch, first.sequence, last.sequence))

    def set_exception(self, exception: BaseException, /) -> None:
        """Send the error."""
        self._link.send(failed(self._request, exception))


def failed(request: int, error: BaseException) -> frames.Failed:
    """Return the frame of an error."""
    kind = type(error).__name__
    if isinstance(error, DamagedMessagesError):
        return frames.Failed(request, kind, "", None, error.topic, error.first, error.last)
    if isinstance(error, ProblemError):
        return frames.Failed(request, kind, error.detail, error.retry_after)
    reason = f"the log has failed ({kind})"
    return frames.Failed(request, LogUnavailableError.__name__, reason)
