"""The port to the message log: what the hub relies on, whatever stores the messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from riptide.errors import TopicLimitError, UncertainAppendError
from riptide.message import NANOSECONDS
from riptide.storage.clock import ExpiryClock
from riptide_telemetry import GapSign

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from riptide.message import Message, MessageId, Receipt
    from riptide.publication import Publication
    from riptide.settings.settings import Settings
    from riptide.storage.damage import Damage

# One read ends at the next multiple of so many sequence numbers: then consumers that began at
# different places soon read at the same ones.
READ_MESSAGES = 500
# One read ends once its payloads have so many bytes, which is as much as is written at once.
READ_BYTES = 256 * 1024
TOPIC_RETRY_AFTER_S = 60
RETRY_AFTER_S = 5


def uncertain(reason: str) -> UncertainAppendError:
    """Return the error of an append that was kept or not; ``reason`` is why that is not known."""
    return UncertainAppendError(
        f"the message may have been kept or not ({reason}): read the topic before you publish it "
        "again, and tell the operator to look at the service's log records",
        retry_after=RETRY_AFTER_S,
    )


class Bounds(NamedTuple):
    """The messages that a log has of a topic: ``earliest`` to ``head``, both inclusive.

    An empty topic has ``earliest == head + 1``; one that never had a message, ``head == 0``.
    """

    earliest: int
    head: int

    def is_empty(self) -> bool:
        """Return whether the log has no messages of the topic."""
        return self.earliest > self.head


class ListedTopic(NamedTuple):
    """A topic, the bounds of its messages, and the epoch of the newest one.

    For a topic without messages, any epoch whose ids are known for its head.
    """

    name: str
    bounds: Bounds
    epoch: str


def read_ends(sequence: int, size: int) -> bool:
    """Return whether a read ends with this message, when it has payloads of ``size`` bytes."""
    return sequence % READ_MESSAGES == 0 or size >= READ_BYTES


@dataclass(frozen=True, slots=True)
class Retention:
    """What a log keeps of each topic: at most ``messages``, none older than ``seconds``.

    At most ``topics`` may have messages, and as many are remembered without messages after a
    restart, because a client can make up any number of names. ``clock`` tells the age of messages.
    """

    messages: int
    seconds: float
    topics: int = 10_000
    clock: ExpiryClock = field(default_factory=ExpiryClock, compare=False)

    def oldest_kept(self) -> int:
        """Return the Unix time in nanoseconds before which messages have expired."""
        return int(max(0.0, self.clock.now_ns() - self.seconds * NANOSECONDS))

    def continue_from(self, newest_at: int) -> None:
        """Take the time of a log's newest message into account, when the log is opened."""
        self.clock.continue_from(newest_at, self.seconds * NANOSECONDS)

    def no_more_topics(self) -> TopicLimitError:
        """Return the error of an append that would give one topic too many its messages."""
        return TopicLimitError(
            f"{self.topics} topics have messages, and no more may; nothing was published: wait "
            "until the messages of one have expired, or raise RIPTIDE_MAX_TOPICS",
            retry_after=TOPIC_RETRY_AFTER_S,
        )

    def first_kept(self, head: int) -> int:
        """Return the lowest sequence number that may stay of a topic with this head."""
        return max(1, head - self.messages + 1)


def retention_of(settings: Settings) -> Retention:
    """Return what the settings say that a log keeps."""
    return Retention(settings.retention_messages, settings.retention_seconds, settings.max_topics)


class IdState(Enum):
    """What a log knows of an id that a consumer gives as its position."""

    KNOWN = "known"
    """The log has the messages that follow it."""
    EXPIRED = "expired"
    """It is of this log, which does not have all messages any more that followed it."""
    NEVER = "never"
    """No message of this log has it: it is of another log, or of an end that was lost."""


def id_state(position: MessageId, bounds: Bounds, end: int) -> IdState:
    """Return the state of an id whose life ended at ``end`` in a topic with these bounds."""
    if position.sequence > end:
        return IdState.NEVER
    return IdState.KNOWN if position.sequence >= bounds.earliest - 1 else IdState.EXPIRED


@dataclass(slots=True)
class Connection:
    """How a process has reached its log; it always does if it keeps the log itself."""

    is_up: bool = True
    reconnects: int = 0
    gaps: dict[str, int] = field(default_factory=lambda: {**dict.fromkeys(GapSign, 0)})
    """How often the log was found to have messages of a topic of which the process was not told."""
    lost_s: float = 0.0
    """For how many seconds a log that other instances share has given no answer."""
    resets: int = 0
    """How often such a log was found to have gone back."""
    feed_lag_s: float = 0.0
    """How old the newest messages may be that such a log has and the process does not know of."""
    clock_offset_s: float = 0.0
    """The clock here less that of such a log."""
    clock_uncertainty_s: float = 0.0
    """By how much the offset may be wrong."""


class Feed(Protocol):
    """Whoever follows a topic. No method raises."""

    def push(self, messages: Sequence[Message]) -> None:
        """Take messages that were kept: at least one, of consecutive sequence numbers.

        Their numbers rise from push to push. If one is skipped, the log has what is between; some
        may have been pushed before.
        """

    def lost(self) -> None:
        """Learn that numbers that were pushed are no longer those of the log's messages.

        The log has lost its end, or all. Consumers have to begin anew.
        """


class Answer(Protocol):
    """Whoever waits for the outcome of an append: a future, or less than one.

    It is given an outcome on its event loop, and none once it is done.
    """

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return its event loop."""

    def done(self) -> bool:
        """Return whether it wants no outcome any more."""

    def set_result(self, result: Receipt, /) -> None:
        """Take what was kept."""

    def set_exception(self, exception: BaseException, /) -> None:
        """Take why nothing was kept, or why nobody knows."""


class MessageLog(Protocol):
    """Topics of messages, numbered from 1 without a gap, appended to and read in order.

    An epoch names a life of the log: 8 hexadecimal digits, new whenever the log is opened. A
    message keeps the epoch of the life in which it was published. ``damage`` is what was found to
    be damaged since the log was opened.
    """

    damage: Damage

    @property
    def connection(self) -> Connection:
        """How the log is reached."""

    async def open(self) -> None:
        """Make the log ready.

        Raises:
            StartError: the log cannot be opened; the text says what to do.

        """

    async def close(self) -> None:
        """Finish the appends that wait, and release all resources."""

    def append(self, publication: Publication) -> asyncio.Future[Receipt]:
        """Keep the payloads, all or none, with the trace of their publish, if there is one.

        Return a future of the ids that the payloads got, done when they are kept: a log on disk has
        synced them. Futures are done in the order of sequence numbers, and callbacks of a future
        run before feeds get its messages. Cancelling a future does not undo its append.

        Raises (from the future):
            TopicLimitError: too many other topics have messages; nothing was kept.
            UncertainAppendError: the payloads were kept or not; if they were, feeds get them.
            LogUnavailableError: nothing was kept.

        """

    async def follow(self, topic: str, feed: Feed) -> ListedTopic:
        """Push the topic's messages to the feed from now on, and return the present bounds.

        Messages up to the head of these bounds may be pushed too. A feed that follows already goes
        on.

        Raises:
            LogUnavailableError: the log cannot be read; the feed follows all the same.

        """

    def unfollow(self, topic: str, feed: Feed) -> None:
        """Push nothing more of the topic to the feed."""

    def followed_count(self) -> int:
        """Return how many topics have feeds."""

    async def bounds(self, topic: str) -> Bounds:
        """Return which messages of the topic the log has.

        Raises:
            LogUnavailableError: the log cannot be read.

        """

    async def place(self, topic: str, position: MessageId) -> IdState:
        """Return whether a consumer of the topic can go on after an id.

        An id is never known if its life is not, if the log has forgotten a topic of that name
        since, or if it is beyond the end that the topic had in its life. If the log has lost its
        end, that is the last message that was not lost.

        Raises:
            LogUnavailableError: the log cannot be read.

        """

    async def read(self, topic: str, after: int) -> list[Message]:
        """Return the messages that follow sequence number ``after``, oldest first.

        The list ends at a number that ``READ_MESSAGES`` divides, or once ``READ_BYTES`` are
        reached, or before a message that is damaged. It is empty when there are none. Messages
        before the first one have expired.

        Raises:
            DamagedMessagesError: the next messages that have not expired are damaged; ``first`` to
                ``last`` are never delivered, and what follows them can be read.
            LogUnavailableError: the log cannot be read.

        """

    async def names(self, after: str, limit: int) -> list[str]:
        """Return the names of topics with messages that come after ``after``, in order.

        At most ``limit``. This takes as long as there are names in the answer.

        Raises:
            LogUnavailableError: the log cannot be read.

        """

    async def topics(self, names: Sequence[str]) -> list[ListedTopic]:
        """Return those of these topics that have messages; the names are in order.

        Raises:
            LogUnavailableError: the log cannot be read.

        """

    def size_bytes(self) -> int:
        """Return the size of the log in bytes."""

    def wal_bytes(self) -> int:
        """Return the size of the write-ahead log, which is a part of the log."""

    def free_bytes(self) -> int:
        """Return how many bytes of the log deletions have left free for new messages."""

    def checkpoint_age_s(self) -> float:
        """Return how long something has waited to be moved from the write-ahead log; 0 if nothing.

        Counts from the last checkpoint that moved all.
        """

    async def watch(self) -> None:
        """Find out again and again whether the log can be read, until cancelled."""

    def oldest_append_age_s(self) -> float:
        """Return how long the oldest append or other write under way has taken, in seconds.

        0 if there is none. A slow event loop makes no append older.
        """

    def append_stall_s(self) -> float:
        """Return the longest time of the last minute in which appends waited and none was answered.

        In seconds. A wait that has not ended yet counts.
        """

    def clock_doubt(self) -> str | None:
        """Return why the clock by which messages expire is in doubt, or None if it is not."""

    def unavailable_reason(self) -> str | None:
        """Return why the log cannot be written or read at the moment, or None if it can."""


class LocalLog(MessageLog, Protocol):
    """A log of this process, which can be served to others."""

    def append_for(self, publication: Publication, answer: Answer) -> None:
        """Keep the payloads as ``append`` does, and give ``answer`` what its future gets."""
