"""The topics that a worker follows: who is pushed their messages, also by the next process."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from riptide.errors import DamagedMessagesError, LogUnavailableError
from riptide.message import MessageId
from riptide.storage.message_log import Bounds, ListedTopic
from riptide.storage.shared import frames
from riptide_telemetry import GapSign

if TYPE_CHECKING:
    from collections.abc import Sequence

    from riptide.message import Message
    from riptide.storage.message_log import Connection, Feed
    from riptide.storage.shared.questions import Questions

logger = logging.getLogger("riptide.log")

# Until a topic is tried again that cannot be followed yet.
RETRY_S = 1.0


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


class FollowedTopics:
    """Follows topics by asking the process of the log. ``connection`` counts what was missed."""

    def __init__(self, questions: Questions, connection: Connection) -> None:
        self._questions = questions
        self._connection = connection
        self._topics: dict[str, _Topic] = {}
        # Counts the processes that there have been.
        self._process = 0
        self._catching_up: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._topics)

    async def follow(self, topic: str, feed: Feed) -> ListedTopic:
        """Push the topic's messages to the feed from now on."""
        followed = self._topics.setdefault(topic, _Topic())
        followed.feeds[feed] = None
        answer = await self._questions.ask(
            lambda request: frames.Follow(request, topic, "", 0), frames.Followed
        )
        newest = MessageId(answer.epoch, answer.head)
        if newest.sequence > followed.newest.sequence:
            followed.newest = newest
        return ListedTopic(topic, Bounds(answer.earliest, answer.head), answer.epoch)

    def unfollow(self, topic: str, feed: Feed) -> bool:
        """Push nothing more of the topic to the feed; return whether it was the topic's last."""
        followed = self._topics.get(topic)
        if followed is None or feed not in followed.feeds:
            return False
        del followed.feeds[feed]
        if followed.feeds:
            return False
        del self._topics[topic]
        return True

    def push_soon(self, topic: str, messages: Sequence[Message]) -> None:
        """Push messages once the answers that came before them are in the hands of publishers."""
        followed = self._topics.get(topic)
        if followed is not None:
            asyncio.get_running_loop().call_soon(followed.push, messages)

    def follow_again(self) -> None:
        """Follow all topics of a process that has come, and let feeds know what they missed."""
        self._process += 1
        for topic, followed in self._topics.items():
            task = asyncio.create_task(self._catch_up(topic, followed))
            self._catching_up.add(task)
            task.add_done_callback(self._catching_up.discard)

    def lose(self) -> None:
        """Follow nothing until there is another process."""
        self._process += 1

    async def _catch_up(self, topic: str, followed: _Topic) -> None:
        had = followed.newest
        followed.in_doubt = bool(had.sequence)
        process, has_failed = self._process, False
        try:
            while self._process == process and self._topics.get(topic) is followed:
                try:
                    await self._compare(topic, followed, had)
                except LogUnavailableError as error:
                    if not has_failed:
                        logger.warning("topic %s cannot be followed again yet: %s", topic, error)
                    has_failed = True
                    await asyncio.sleep(RETRY_S)
                else:
                    return
        except DamagedMessagesError:
            # Consumers meet the damage when the next message makes them read.
            return
        finally:
            # With another process, another task is at it.
            if self._process == process:
                followed.go_on()

    async def _compare(self, topic: str, followed: _Topic, had: MessageId) -> None:
        answer = await self._questions.ask(
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
            read = await self._questions.ask(
                lambda request: frames.AskMessages(request, topic, answer.head - 1),
                frames.MessagesAre,
            )
            newest = read.messages
            self._connection.gaps[GapSign.RECONNECT] += 1
            if newest and newest[-1].sequence > followed.newest.sequence:
                followed.push(newest)
