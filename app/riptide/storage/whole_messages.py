"""Reads the messages of a topic that pass their check, and finds where those end that do not.

Damage has many faces: a row with a bit flipped, a page that SQLite calls malformed, a key that is
out of order so that a search goes past it. All of them look alike from the neighbours: sequence
numbers have no gap, so whatever lies between two whole messages and is not one of them is damaged.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from riptide.errors import DamagedMessagesError
from riptide.storage.checksum import checksum
from riptide.storage.disk_room import primary_code
from riptide.storage.message_log import READ_BYTES, READ_MESSAGES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# So many messages behind damage are looked for one by one; further ones in steps that double, so
# that a large hole delays other consumers little.
ONE_BY_ONE = 1000
# Codes of SQLite for content that cannot be what was written.
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_TOOBIG}
# Casts, because a flipped bit may turn a value into one of another type. A payload that has become
# a text is still the same bytes.
COLUMNS = (
    "CAST(sequence AS INTEGER), CAST(accepted_at AS INTEGER), CAST(payload AS BLOB), "
    "CAST(traceparent AS BLOB), CAST(checksum AS INTEGER)"
)
_FOLLOWING = (
    f"SELECT {COLUMNS} FROM messages WHERE topic_id = ? AND sequence >= ? "  # noqa: S608  # columns of our own
    "ORDER BY sequence LIMIT ?"
)
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class WholeMessage(NamedTuple):
    """A message as it was written; ``traceparent`` is empty if it was not traced."""

    sequence: int
    accepted_at: int
    payload: bytes
    traceparent: str


def read_whole(
    connection: sqlite3.Connection, topic: str, topic_id: int, after: int, head: int
) -> list[WholeMessage]:
    """Return the messages that follow ``after``, up to the first one that is damaged.

    Messages before the first one returned have expired. The limits are those of
    ``MessageLog.read``.

    Raises:
        DamagedMessagesError: the next message that has not expired is damaged.
        sqlite3.Error: the log cannot be read, for another reason than damage.

    """
    messages = _read_stretch(connection, topic_id, after)
    if messages or after >= head:
        return messages
    with _snapshot(connection):
        found = _next_whole(connection, topic_id, after + 1, head)
        first = _first_kept(connection, topic_id, after, found)
        if first is None:
            return _read_stretch(connection, topic_id, found - 1)
    raise DamagedMessagesError(topic, first, found - 1)


def checked(topic_id: int, row: Sequence[Any]) -> WholeMessage | None:
    """Return the message of a row with the columns of ``COLUMNS``, None if it is damaged.

    Of a message without a checksum, which an older version wrote, that is known only as far as it
    has the form of a message.
    """
    sequence, accepted_at, payload, trace, stored = row
    if sequence is None or accepted_at is None or payload is None:
        return None
    try:
        traceparent = None if trace is None else trace.decode()
    except UnicodeDecodeError:
        return None
    if stored is None:
        is_whole = accepted_at >= 0 and _has_form(payload, traceparent)
    else:
        is_whole = stored == checksum(topic_id, sequence, accepted_at, payload, traceparent)
    return WholeMessage(sequence, accepted_at, payload, traceparent or "") if is_whole else None


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether an error says that the content of the file is damaged."""
    return primary_code(error) in _DAMAGED


def find_earliest(connection: sqlite3.Connection, topic_id: int, head: int) -> int:
    """Return the sequence number of a topic's oldest message, ``head + 1`` if there is none.

    If that part of the log cannot be read, return one that is certainly not too high.
    """
    try:
        earliest = connection.execute(
            "SELECT min(sequence) FROM messages WHERE topic_id = ?", (topic_id,)
        ).fetchone()[0]
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        # Lives of which every message has expired are forgotten.
        earliest = connection.execute(
            "SELECT min(first) FROM beginnings WHERE topic_id = ?", (topic_id,)
        ).fetchone()[0]
    if not isinstance(earliest, int):
        return head + 1
    return min(max(1, earliest), head + 1)


def _has_form(payload: bytes, traceparent: str | None) -> bool:
    """Return whether a message of an older version is one line of JSON with its trace, if any."""
    if b"\n" in payload or b"\r" in payload:
        return False
    if traceparent is not None and _TRACEPARENT.fullmatch(traceparent) is None:
        return False
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError:
        return False
    return True


def _read_stretch(connection: sqlite3.Connection, topic_id: int, after: int) -> list[WholeMessage]:
    """Return the whole messages from ``after + 1`` on, until one is missing or damaged."""
    messages: list[WholeMessage] = []
    size = 0
    try:
        for row in connection.execute(_FOLLOWING, (topic_id, after + 1, READ_MESSAGES)):
            message = checked(topic_id, row)
            if message is None or message.sequence != after + 1 + len(messages):
                break
            messages.append(message)
            size += len(message.payload)
            if size >= READ_BYTES:
                break
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        # Python reads one row ahead, so the error has come in place of the row before it.
        expected = after + 1 + len(messages)
        message = _at_or_after(connection, topic_id, expected)
        if message is not None and message.sequence == expected:
            messages.append(message)
    return messages


def _next_whole(connection: sqlite3.Connection, topic_id: int, sequence: int, head: int) -> int:
    """Return the first sequence number from ``sequence`` on that is a whole message's.

    Return ``head + 1`` if there is none. Behind ``ONE_BY_ONE`` damaged messages it may not be the
    first.
    """
    missing, step, tried = sequence - 1, 1, 0
    found = None
    while found is None:
        if sequence > head:
            return head + 1
        found = _at_or_after(connection, topic_id, sequence)
        if found is None:
            missing, tried = sequence, tried + 1
            step = 1 if tried < ONE_BY_ONE else 2 * step
            sequence = min(sequence + step, head) if sequence < head else head + 1
    # The first whole one is behind the last miss.
    while sequence - missing > 1:
        middle = (missing + sequence) // 2
        nearer = _at_or_after(connection, topic_id, middle)
        if nearer is None:
            missing = middle
        else:
            sequence, found = middle, nearer
    return min(found.sequence, head + 1)


def _at_or_after(
    connection: sqlite3.Connection, topic_id: int, sequence: int
) -> WholeMessage | None:
    """Return the next message, None if it is damaged or there is none."""
    try:
        row = connection.execute(_FOLLOWING, (topic_id, sequence, 1)).fetchone()
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        return None
    message = None if row is None else checked(topic_id, row)
    return None if message is None or message.sequence < sequence else message


def _first_kept(
    connection: sqlite3.Connection, topic_id: int, after: int, found: int
) -> int | None:
    """Return the first of the messages after ``after`` and before ``found`` that is damaged.

    Those before it have expired. Return None if all of them have.
    """
    try:
        lowest = connection.execute(
            "SELECT CAST(sequence AS INTEGER) FROM messages WHERE topic_id = ? "
            "ORDER BY sequence LIMIT 1",
            (topic_id,),
        ).fetchone()
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        return after + 1
    if lowest is None or lowest[0] >= found:
        return None
    return max(after + 1, int(lowest[0]))


@contextlib.contextmanager
def _snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """Let several statements see the log at one moment."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        # Where a page cannot be read, a commit fails, though nothing was written.
        connection.execute("ROLLBACK")
