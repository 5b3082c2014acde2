"""The messages on a page of a damaged file, decoded without SQLite (SQLite file format, 1.6, 2.1).

A row counts as a message if its numbers can be those of one. Its payload may be damaged, or on
pages that are lost.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

Value = int | float | bytes | None

# The pages that have rows: an index has some on the pages that lead to others.
_INDEX_INTERIOR, _INDEX_LEAF, _TABLE_LEAF = 0x02, 0x0A, 0x0D
_CHILD_BYTES = 4
_PAGE_HEADER = struct.Struct(">BHHHB")
_LONGEST_VARINT = 9
# 2001 to 2286 in Unix nanoseconds.
_TIMES = range(10**18, 10**19)
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_FLOAT, _ZERO, _ONE, _SHORTEST_BLOB = 7, 8, 9, 12
# Where the columns topic, number and time of a message are: first, or behind the row's own number.
_LAYOUTS = (slice(0, 3), slice(1, 4))


class FoundMessage(NamedTuple):
    """A message of which a page has at least the beginning; the time is Unix nanoseconds."""

    topic_id: int
    sequence: int
    accepted_at: int


def messages_on(page: bytes) -> list[FoundMessage]:
    """Return the messages on a page, none if it has no rows or cannot be read."""
    found = (_message_of(values) for values in _records(page))
    return [message for message in found if message is not None]


def _records(page: bytes) -> Iterator[list[Value]]:
    if len(page) < _PAGE_HEADER.size:
        return
    kind, _, count, _, _ = _PAGE_HEADER.unpack_from(page)
    if kind not in {_INDEX_INTERIOR, _INDEX_LEAF, _TABLE_LEAF}:
        return
    cells = _PAGE_HEADER.size + (_CHILD_BYTES if kind == _INDEX_INTERIOR else 0)
    for index in range(min(count, len(page) // 2)):
        try:
            (start,) = struct.unpack_from(">H", page, cells + 2 * index)
            yield _record(page, start, kind)
        except (IndexError, struct.error):
            continue


def _record(page: bytes, start: int, kind: int) -> list[Value]:
    """Return the values of a row; those that are not on this page are left out."""
    size, position = _varint(page, start + (_CHILD_BYTES if kind == _INDEX_INTERIOR else 0))
    if kind == _TABLE_LEAF:
        _, position = _varint(page, position)
    header_bytes, after = _varint(page, position)
    body = position + header_bytes
    end = position + _local_bytes(size, len(page), kind)
    values: list[Value] = []
    while after < position + header_bytes:
        serial, after = _varint(page, after)
        value, value_bytes = _value(page, body, serial)
        body += value_bytes
        if body > end:
            break
        values.append(value)
    return values


def _local_bytes(size: int, page_bytes: int, kind: int) -> int:
    """Return how much of a row is on its leaf; the rest is on overflow pages."""
    most = page_bytes - 35 if kind == _TABLE_LEAF else (page_bytes - 12) * 64 // 255 - 23
    if size <= most:
        return size
    least = (page_bytes - 12) * 32 // 255 - 23
    local = least + (size - least) % (page_bytes - 4)
    return local if local <= most else least


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for count in range(1, _LONGEST_VARINT + 1):
        byte = data[position]
        position += 1
        if count == _LONGEST_VARINT:
            return value << 8 | byte, position
        value = value << 7 | byte & 0x7F
        if byte < 0x80:  # noqa: PLR2004  # the bit that says that more bytes follow
            break
    return value, position


def _value(data: bytes, position: int, serial: int) -> tuple[Value, int]:
    if serial in _INTEGER_BYTES:
        size = _INTEGER_BYTES[serial]
        return int.from_bytes(data[position : position + size], "big", signed=True), size
    if serial == _FLOAT:
        return struct.unpack_from(">d", data, position)[0], 8
    if serial in {_ZERO, _ONE}:
        return serial - _ZERO, 0
    if serial < _SHORTEST_BLOB:
        return None, 0
    size = (serial - _SHORTEST_BLOB) // 2
    return data[position : position + size], size


def _message_of(values: list[Value]) -> FoundMessage | None:
    for columns in _LAYOUTS:
        match values[columns]:
            case [int(topic_id), int(sequence), int(accepted_at)] if (
                topic_id > 0 and sequence > 0 and accepted_at in _TIMES
            ):
                return FoundMessage(topic_id, sequence, accepted_at)
    return None
