"""What workers and the log's process tell each other: packets of frames in MessagePack.

What one end sends in one turn of its event loop is one packet: a list of frames, behind its length.
Both run the same version of Riptide on one machine, so moments on the monotonic clock are passed on
as they are.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from riptide.message import Message
from riptide.publication import Publication

if TYPE_CHECKING:
    from collections.abc import Iterator

# Another version would misread what this one sends.
VERSION: Final = 1
_LENGTH: Final = struct.Struct(">I")


class _Frame(msgspec.Struct, array_like=True, gc=False):
    """A frame; ``request`` is the number that the answer repeats."""


class Append(_Frame, tag=1):
    """Keep payloads. Answered by ``Kept`` or ``Failed``."""

    request: int
    publication: Publication


class Follow(_Frame, tag=2):
    """Send a topic's messages from now on. Answered by ``Followed`` or ``Failed``.

    The worker has had the message ``last`` of ``epoch``, or none if it is 0.
    """

    request: int
    topic: str
    epoch: str
    last: int


class Unfollow(_Frame, tag=3):
    """Send no more messages of a topic."""

    topic: str


class AskBounds(_Frame, tag=4):
    """Answered by ``BoundsAre`` or ``Failed``."""

    request: int
    topic: str


class AskPlace(_Frame, tag=5):
    """Answered by ``StateIs`` or ``Failed``."""

    request: int
    topic: str
    epoch: str
    sequence: int


class AskMessages(_Frame, tag=6):
    """Answered by ``MessagesAre`` or ``Failed``."""

    request: int
    topic: str
    after: int


class AskNames(_Frame, tag=7):
    """Answered by ``NamesAre`` or ``Failed``."""

    request: int
    after: str
    limit: int


class AskTopics(_Frame, tag=8):
    """Answered by ``TopicsAre`` or ``Failed``."""

    request: int
    names: list[str]


class Welcome(_Frame, tag=21):
    """The log is open; the first frame on each connection."""

    version: int


class Kept(_Frame, tag=22):
    """The payloads were kept, with these sequence numbers."""

    request: int
    epoch: str
    first: int
    last: int


class Failed(_Frame, tag=23):
    """An error; ``kind`` is the name of its class."""

    request: int
    kind: str
    detail: str
    retry_after: int | None = None
    # Of messages that are damaged.
    topic: str = ""
    first: int = 0
    last: int = 0


class Followed(_Frame, tag=24):
    """The bounds of a topic that is followed, and whether what the worker has had is the log's."""

    request: int
    earliest: int
    head: int
    epoch: str
    is_known: bool


class BoundsAre(_Frame, tag=25):
    """The bounds of a topic."""

    request: int
    earliest: int
    head: int


class StateIs(_Frame, tag=26):
    """The state of an id: a value of ``IdState``."""

    request: int
    state: str


class MessagesAre(_Frame, tag=27):
    """Messages that were read."""

    request: int
    messages: list[Message]


class NamesAre(_Frame, tag=28):
    """Names of topics."""

    request: int
    names: list[str]


class TopicsAre(_Frame, tag=29):
    """Topics: name, earliest, head, and the epoch of the newest message."""

    request: int
    topics: list[tuple[str, int, int, str]]


class Record(_Frame, tag=30):
    """Messages of a topic that is followed, which were just kept."""

    topic: str
    messages: Sequence[Message]


class LogState(_Frame, tag=31):
    """What the log shows of itself; sent every second."""

    unavailable_reason: str | None = None
    oldest_append_age_s: float = 0.0
    append_stall_s: float = 0.0
    size_bytes: int = 0
    wal_bytes: int = 0
    free_bytes: int = 0
    checkpoint_age_s: float = 0.0
    unreadable_messages: int = 0
    lost_frames: int = 0
    clock_doubt: str | None = None


class Fault(_Frame, tag=32):
    """The process of the log ends because of a fault in a part of it; sent to one worker."""

    part: str


Asked = Follow | AskBounds | AskPlace | AskMessages | AskNames | AskTopics
"""Questions, which may be asked again."""
OfWorker = Append | Unfollow | Asked
Answer = Kept | Failed | Followed | BoundsAre | StateIs | MessagesAre | NamesAre | TopicsAre
OfLog = Welcome | Record | LogState | Fault | Answer

_encoder = msgspec.msgpack.Encoder()
of_worker = msgspec.msgpack.Decoder(list[OfWorker])
of_log = msgspec.msgpack.Decoder(list[OfLog])


def packet(frames: Sequence[OfWorker | OfLog]) -> bytes:
    """Return frames as they are sent together, behind their length."""
    body = _encoder.encode(frames)
    return _LENGTH.pack(len(body)) + body


class PacketReader:
    """Finds the bodies of packets in what comes, in whatever pieces it comes."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[memoryview]:
        """Yield the bodies that are complete by now; each is valid until the next one."""
        self._buffer += data
        start, size = 0, len(self._buffer)
        view = memoryview(self._buffer)
        try:
            while size - start >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(view, start)
                end = start + _LENGTH.size + length
                if end > size:
                    break
                with view[start + _LENGTH.size : end] as body:
                    yield body
                start = end
        finally:
            view.release()
            del self._buffer[:start]
