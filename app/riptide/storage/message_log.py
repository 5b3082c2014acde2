"""What a log of messages does, whatever keeps it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from riptide.errors import TopicLimitError
from riptide.message import NANOSECONDS

if TYPE_CHECKING:
    import asyncio

    from riptide.message import Message
    from riptide.publication import Publication

READ_MESSAGES = 1000
READ_BYTES = 1024 * 1024
TOPIC_RETRY_AFTER_S = 60


class Bounds(NamedTuple):
    """The messages that a log has of a topic: ``earliest`` to ``head``, both inclusive.

    An empty topic has ``earliest == head + 1``; one that never had a message, ``head == 0``.
    """

    earliest: int
    head: int


class ListedTopic(NamedTuple):
    """A topic, which messages of it there are, and the epoch of the newest."""

    name: str
    bounds: Bounds
    epoch: str


class Retention(NamedTuple):
    """What a log keeps of each topic: at most so many messages, none older than that.

    And how many topics may have messages at all: a name costs nothing to make up.
    """

    messages: int
    seconds: float
    topics: int = 10_000

    def oldest_kept(self) -> int:
        """Return the Unix time in nanoseconds before which messages have expired."""
        return int(max(0.0, time.time() - self.seconds) * NANOSECONDS)

    def no_more_topics(self) -> TopicLimitError:
        """Return the error of an append to a topic without messages, when there are enough."""
        return TopicLimitError(
            f"{self.topics} topics have messages, and no more may; nothing was published: wait "
            "until the messages of one have expired, or raise RIPTIDE_MAX_TOPICS",
            retry_after=TOPIC_RETRY_AFTER_S,
        )

    def first_kept(self, head: int) -> int:
        """Return the lowest sequence number that may stay of a topic with this head."""
        return max(1, head - self.messages + 1)


class MessageLog(Protocol):
    """Topics of messages, numbered from 1 without a gap, appended to and read in order.

    ``epoch`` names this life of the log: 8 hexadecimal digits, new whenever it is opened. A
    message keeps that of the life in which it was published.
    """

    epoch: str

    async def open(self) -> None:
        """Make the log ready.

        Raises:
            StartError: it cannot be; the text says what to do.

        """

    async def close(self) -> None:
        """Finish what was begun and let go of all resources."""

    def append(self, publication: Publication) -> asyncio.Future[int]:
        """Keep the payloads, all or none, with the trace of their publish, if there is one.

        Return a future of the first one's sequence number, done when they will survive the
        end of this process. Futures are done in the order of sequence numbers. Cancelling one
        does not undo the append.

        Raises (from the future):
            TopicLimitError: too many other topics have messages; nothing was kept.
            LogUnavailableError: nothing was kept.

        """

    async def bounds(self, topic: str) -> Bounds:
        """Return which messages of the topic there are.

        Raises:
            LogUnavailableError: the log cannot be read.

        """

    async def end_of(self, epoch: str, topic: str) -> int | None:
        """Return the last sequence number that the topic had in a life of this log.

        Up to there, what that life had is what this one has or had; None if it is not known. In a
        log that has lost its end, that is the last that was not lost.

        Raises:
            LogUnavailableError: the log cannot be read.

        """

    async def read(self, topic: str, after: int) -> list[Message]:
        """Return the messages that follow sequence number ``after``, oldest first.

        At most ``READ_MESSAGES`` messages, and no more once ``READ_BYTES`` are reached; empty
        when there are none.

        Raises:
            LogUnavailableError: the log cannot be read.

        """

    async def topics(self, after: str, limit: int) -> list[ListedTopic]:
        """Return the topics whose names come after ``after``, in the order of names.

        At most so many. Those whose messages have all expired are among them, for the log
        remembers their numbers.

        Raises:
            LogUnavailableError: the log cannot be read.

        """

    def size_bytes(self) -> int:
        """Return how much room the log takes, in bytes."""

    def unavailable_reason(self) -> str | None:
        """Return why messages are not taken just now, or None while they are."""
