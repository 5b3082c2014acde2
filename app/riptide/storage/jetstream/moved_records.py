"""Messages of another log as records, with the ids that they have."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from riptide.storage.jetstream.appender import RECORD_BYTES
from riptide.storage.jetstream.record import MAX_PARTS, Part, Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from riptide.message import Message

# What the header of a record can hold.
_TRACEPARENT = re.compile(r"[0-9a-f-]{55}")


def records_of(messages: Sequence[Message], names: Iterator[str]) -> Iterator[Record]:
    """Yield the records of messages of one topic, each with the next name.

    A record ends where the epoch changes or a number is missing, and where it would have too many
    publications or bytes. Messages of one moment and one trace are of one publication.
    """
    start, parts, size = 0, list[Part](), 0
    for index, message in enumerate(messages):
        before = messages[index - 1] if index > start else None
        part = Part(1, message.accepted_at, trace_of(message))
        joins = before is not None and parts[-1][1:] == part[1:]
        if before is not None and (
            message.epoch != before.epoch
            or message.sequence != before.sequence + 1
            or size + len(message.payload) > RECORD_BYTES
            or (not joins and len(parts) == MAX_PARTS)
        ):
            yield _record(messages[start:index], parts, names)
            start, parts, size, joins = index, [], 0, False
        if joins:
            parts[-1] = parts[-1]._replace(length=parts[-1].length + 1)
        else:
            parts.append(part)
        size += len(message.payload)
    if parts:
        yield _record(messages[start:], parts, names)


def trace_of(message: Message) -> str:
    """Return a message's trace, unless a record could not hold it."""
    return message.traceparent if _TRACEPARENT.fullmatch(message.traceparent) else ""


def _record(messages: Sequence[Message], parts: Sequence[Part], names: Iterator[str]) -> Record:
    first = messages[0]
    payloads = [message.payload for message in messages]
    return Record(first.epoch, first.sequence, next(names), parts, payloads)
