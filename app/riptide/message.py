"""A message, its identity, and the position of a consumer in a topic."""

from __future__ import annotations

import functools
import re
import time
from datetime import UTC, datetime
from enum import Enum
from typing import NamedTuple

import msgspec
import orjson

from riptide.errors import InvalidPositionError, InvalidTopicError

MAX_TOPIC_LENGTH = 128
_TOPIC = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._~:-]{{0,{MAX_TOPIC_LENGTH - 1}}}")
_MESSAGE_ID = re.compile(r"([0-9a-f]{8})-(0|[1-9][0-9]{0,17})")
# JSON strings cannot contain these unescaped, so in valid JSON they are insignificant white space.
_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")

NANOSECONDS = 1_000_000_000
# Bytes of a message beside its payload and encodings: the object, its list, its integers.
OVERHEAD_BYTES = 320


class MessageId(NamedTuple):
    """``<epoch>-<sequence>``: the life of the log in which a message was published, and its number.

    Sequence numbers count from 1 in each topic, and continue from life to life.

    As the position of a consumer, an id means "everything after this message"; sequence 0 is the
    position before the first message.
    """

    epoch: str
    sequence: int

    @classmethod
    def parse(cls, text: str) -> MessageId:
        """Read an id.

        Raises:
            InvalidPositionError: the text does not have the form of an id.

        """
        match = _MESSAGE_ID.fullmatch(text)
        if match is None:
            raise InvalidPositionError(
                f"{text[:64]!r} is not a message id: give earliest, latest, or an id "
                "as it came with a message (like 3f9a1c2e-42)"
            )
        return cls(match[1], int(match[2]))

    def __str__(self) -> str:
        return f"{self.epoch}-{self.sequence}"


class Receipt(NamedTuple):
    """The ids of a publication's first and last message, which the log has kept."""

    first: MessageId
    last: MessageId


class Edge(Enum):
    """The two positions that need no id."""

    EARLIEST = "earliest"
    LATEST = "latest"


Position = Edge | MessageId


def parse_position(text: str) -> Position:
    """Read ``earliest``, ``latest`` or a message id.

    Raises:
        InvalidPositionError: the text is none of these.

    """
    try:
        return Edge(text)
    except ValueError:
        return MessageId.parse(text)


class Acceptance(NamedTuple):
    """The moment at which messages were accepted, in nanoseconds on two clocks.

    ``unix_ns`` is Unix time and goes into the log. ``monotonic_ns`` is the same moment on the
    monotonic clock of this process; latencies are differences on this clock.
    """

    unix_ns: int
    monotonic_ns: int

    @classmethod
    def now(cls) -> Acceptance:
        """Return this moment."""
        return cls(time.time_ns(), time.monotonic_ns())

    @classmethod
    def at(cls, unix_ns: int, now: Acceptance | None = None) -> Acceptance:
        """Return a past moment of Unix time, converted by the difference of the clocks ``now``.

        A moment from beyond now, of a clock that was ahead or that has been set back, is now.
        """
        now = now or cls.now()
        return cls(unix_ns, now.monotonic_ns - max(0, now.unix_ns - unix_ns))


# Processes of one service send each other messages as arrays of these fields. No message is part of
# a cycle, so the garbage collector need not look at them.
class Message(msgspec.Struct, eq=False, array_like=True, gc=False):
    """One message as the log keeps it and the ring holds it.

    ``accepted_at`` is Unix time, ``accepted_ns`` the same moment on this process's monotonic
    clock, both in nanoseconds; ``payload`` is JSON on one line; ``traceparent`` is the W3C trace
    context of its publish, empty if it is not traced. ``encoded`` has a slot for each encoding, so
    that the message is encoded once for all consumers.
    """

    epoch: str
    sequence: int
    accepted_at: int
    accepted_ns: int
    payload: bytes
    traceparent: str = ""
    encoded: list[bytes | None] = msgspec.field(default_factory=lambda: [None, None, None])

    def held_bytes(self) -> int:
        """Return how many bytes the message and its encodings take in memory."""
        encoded = sum(len(frame) for frame in self.encoded if frame is not None)
        return OVERHEAD_BYTES + len(self.payload) + len(self.traceparent) + encoded

    @property
    def sampled(self) -> bool:
        """Whether the message's trace is sampled (the flag of W3C Trace Context)."""
        return bool(self.traceparent) and int(self.traceparent[-1], 16) % 2 == 1

    @property
    def id(self) -> MessageId:
        """The message's identity."""
        return MessageId(self.epoch, self.sequence)

    @property
    def time(self) -> str:
        """When the message was accepted, as RFC 3339 in UTC with milliseconds."""
        seconds, nanoseconds = divmod(self.accepted_at, NANOSECONDS)
        return f"{_in_utc(seconds)}.{nanoseconds // 1_000_000:03d}Z"


@functools.lru_cache(maxsize=16)
def _in_utc(seconds: int) -> str:
    """Return a second of Unix time as RFC 3339. Cached, because neighbouring messages share it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def check_topic(name: str) -> str:
    """Return the name if it is valid for a topic.

    Raises:
        InvalidTopicError: the name is empty, too long, or has other characters than URLs and
            file names take without escaping.

    """
    if _TOPIC.fullmatch(name) is None:
        raise InvalidTopicError(
            f"{name[:160]!r} is not a topic name: use 1 to {MAX_TOPIC_LENGTH} of the characters "
            "A-Z a-z 0-9 . _ ~ : - and begin with a letter or a digit"
        )
    return name


def parse_payload(text: bytes) -> bytes:
    """Check that the text is one JSON value (RFC 8259) and return it on one line.

    The value is passed on as it was written: digits of numbers, order and duplicates of keys
    and escapes in strings stay as they are.

    Raises:
        InvalidMessageError: the text is not JSON in UTF-8, or has a number over 1.8e308, half of a
            surrogate pair, or more than 1024 levels; the error says which.

    """
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        from riptide.syntax.json_faults import explain  # noqa: PLC0415  # only a refusal needs it

        raise explain(text, error) from None
    return text.strip().translate(_LINE_BREAKS)
