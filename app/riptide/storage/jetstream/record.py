"""A record: what an instance writes to a topic at once, as one message of the stream.

The headers say which messages it has, and its body is their payloads, one a line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from riptide.message import Acceptance, Message, MessageId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HEADER = "Riptide-Record"
PARTS = "Riptide-Parts"
CLOCK = "Riptide-Clock"
VERSION = 1
# Headers of a message of NATS have a limit of 64 KiB.
MAX_PARTS = 256

_HEADER = re.compile(r"1 ([0-9a-f]{8}) ([1-9][0-9]{0,17}) ([0-9]{1,9}) ([0-9a-f]{8}\.[0-9]{1,18})")
_CLOCK = re.compile(r"(-?[0-9]{1,19})")
_PART = re.compile(r"([1-9][0-9]{0,8})@([0-9]{1,19})(?:/([0-9a-f-]{55}))?")


class ForeignMessageError(Exception):
    """A message of the stream is no record of Riptide."""


class Part(NamedTuple):
    """``length`` messages of one publication.

    ``accepted_at`` is Unix time in nanoseconds; ``traceparent`` is empty if they are not traced.
    """

    length: int
    accepted_at: int
    traceparent: str = ""


class Record(NamedTuple):
    """Messages of a topic, numbered from ``first`` on.

    ``epoch`` is that of its messages. A record without messages says that those before ``first``
    have been, the last of them of this epoch. ``writer`` is the name of the record among all of the
    stream: the epoch of who wrote it, and a number. ``clock_offset_ns`` is the offset of the clock
    that says when the messages were accepted to that of the stream's leader, None if not known.
    """

    epoch: str
    first: int
    writer: str
    parts: Sequence[Part] = ()
    payloads: Sequence[bytes] = ()
    clock_offset_ns: int | None = None

    @property
    def head(self) -> MessageId:
        """The id of the topic's newest message once the record is kept."""
        return MessageId(self.epoch, self.first + len(self.payloads) - 1)

    def headers(self) -> dict[str, str]:
        """Return the headers of the message of NATS."""
        parts = [
            f"{part.length}@{part.accepted_at}" + (f"/{part.traceparent}" * bool(part.traceparent))
            for part in self.parts
        ]
        named = f"{VERSION} {self.epoch} {self.first} {len(self.payloads)} {self.writer}"
        headers = {HEADER: named, PARTS: ";".join(parts)}
        if self.clock_offset_ns is not None:
            headers[CLOCK] = str(self.clock_offset_ns)
        return headers

    def body(self) -> bytes:
        """Return the body of the message of NATS."""
        return b"\n".join(self.payloads)

    def accepted_at(self) -> int:
        """Return when the newest of its messages was accepted; 0 if it has none."""
        return self.parts[-1].accepted_at if self.parts else 0

    def messages(self, now: Acceptance) -> list[Message]:
        """Return its messages.

        ``now`` is this moment by the clock that says when they were accepted, and by the monotonic
        clock of this process.
        """
        messages: list[Message] = []
        number = self.first
        payloads = iter(self.payloads)
        for length, accepted_at, traceparent in self.parts:
            accepted = Acceptance.at(accepted_at, now)
            for payload in [next(payloads) for _ in range(length)]:
                messages.append(Message(self.epoch, number, *accepted, payload, traceparent))
                number += 1
        return messages


def read(headers: Mapping[str, str] | None, body: bytes) -> Record:
    """Return the record that a message of NATS is.

    Raises:
        ForeignMessageError: it is none, or one of a later version.

    """
    named = _HEADER.fullmatch((headers or {}).get(HEADER, ""))
    if headers is None or named is None:
        raise ForeignMessageError
    parts = [_PART.fullmatch(text) for text in headers.get(PARTS, "").split(";") if text]
    payloads = body.split(b"\n") if body else []
    found = [Part(int(p[1]), int(p[2]), p[3] or "") for p in parts if p is not None]
    count = int(named[3])
    if len(found) < len(parts) or len(payloads) != count or sum(p.length for p in found) != count:
        raise ForeignMessageError
    clock = _CLOCK.fullmatch(headers.get(CLOCK, ""))
    offset_ns = None if clock is None else int(clock[1])
    return Record(named[1], int(named[2]), named[4], found, payloads, offset_ns)
