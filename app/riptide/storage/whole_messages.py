"""Reads the messages of a topic that pass their check, and finds where those end that do not.

Damage has many faces: a row with a bit flipped, a place that leads to nothing or elsewhere, a page
that SQLite calls malformed, a key that is out of order so that a search goes past it. All of them
look alike from the neighbours: sequence numbers have no gap, so whatever lies between two whole
messages and is not one of them is damaged.
"""

from __future__ import annotations

import contextlib
import sqlite3
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, NamedTuple

from riptide.errors import DamagedMessagesError
from riptide.storage.checksum import checksum
from riptide.storage.damage import is_damage
from riptide.storage.message_log import READ_MESSAGES, read_ends
from riptide.storage.topic_ends import find_head

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from riptide.storage.places import Place

# So many messages behind damage are looked for one by one; further ones in steps that double, so
# that a large hole delays other consumers little.
ONE_BY_ONE = 1000
# Casts, because a flipped bit may turn a value into one of another type. A payload that has become
# a text is still the same bytes.
COLUMNS = (
    "CAST(accepted_at AS INTEGER), CAST(payload AS BLOB), CAST(traceparent AS BLOB), "
    "CAST(checksum AS INTEGER)"
)
_FOLLOWING = (
    f"SELECT places.sequence, {COLUMNS} FROM places LEFT JOIN messages USING (position) "  # noqa: S608  # columns of our own
    "WHERE places.topic_id = ? AND places.sequence >= ? ORDER BY places.sequence LIMIT ?"
)
_AT_POSITION = f"SELECT {COLUMNS} FROM messages WHERE position = ?"  # noqa: S608  # as above


class WholeMessage(NamedTuple):
    """A message as it was written; ``traceparent`` is empty if it was not traced."""

    sequence: int
    accepted_at: int
    payload: bytes
    traceparent: str


class StoredTopic(NamedTuple):
    """A topic in the file, and its newest places, which the file may not have yet.

    Whoever makes one takes the places first, and reads the file afterwards; see ``Places``.
    """

    connection: sqlite3.Connection
    topic_id: int
    newest: Sequence[Place] = ()

    def following(self, first: int) -> Generator[WholeMessage | None]:
        """Yield the messages from ``first`` on, as far as there are any; None for a damaged one."""
        expected = first
        values = (self.topic_id, first, READ_MESSAGES)
        try:
            # A statement that stays open would keep the write-ahead log from being reused.
            with contextlib.closing(self.connection.execute(_FOLLOWING, values)) as rows:
                for sequence, *row in rows:
                    yield checked(self.topic_id, sequence, row)
                    expected = sequence + 1
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            # Python reads one row ahead, so the error has come in place of the row before it.
            yield self.at_or_after(expected)
            return
        for place in self.newest:
            if place.sequence >= expected:
                yield self._at(place)

    def at_or_after(self, sequence: int) -> WholeMessage | None:
        """Return the next message, None if it is damaged or there is none."""
        index = bisect_left(self.newest, sequence, key=lambda place: place.sequence)
        place = self.newest[index] if index < len(self.newest) else None
        if place is not None and place.sequence == sequence:
            return self._at(place)
        try:
            row = self.connection.execute(_FOLLOWING, (self.topic_id, sequence, 1)).fetchone()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            return None
        if row is not None:
            return checked(self.topic_id, row[0], row[1:])
        return None if place is None else self._at(place)

    def next_whole(self, sequence: int, head: int) -> WholeMessage | None:
        """Return the first whole message from ``sequence`` to ``head``, None if there is none.

        Behind ``ONE_BY_ONE`` damaged messages it may not be the first.
        """
        missing, step, tried = sequence - 1, 1, 0
        found = None
        while found is None:
            if sequence > head:
                return None
            found = self.at_or_after(sequence)
            if found is None:
                missing, tried = sequence, tried + 1
                step = 1 if tried < ONE_BY_ONE else 2 * step
                sequence = min(sequence + step, head) if sequence < head else head + 1
        # The first whole one is behind the last miss.
        while sequence - missing > 1:
            middle = (missing + sequence) // 2
            nearer = self.at_or_after(middle)
            if nearer is None:
                missing = middle
            else:
                sequence, found = middle, nearer
        return found if found.sequence <= head else None

    def _at(self, place: Place) -> WholeMessage | None:
        """Return the message at a place, None if it is damaged or not there."""
        try:
            row = self.connection.execute(_AT_POSITION, (place.position,)).fetchone()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            return None
        return row and checked(self.topic_id, place.sequence, row)


def read_whole(topic: StoredTopic, name: str, after: int) -> list[WholeMessage]:
    """Return the messages that follow ``after``, up to the first one that is damaged.

    Messages before the first one returned have expired. The limits are those of
    ``MessageLog.read``.

    Raises:
        DamagedMessagesError: the next message that has not expired is damaged.
        sqlite3.Error: the log cannot be read, for another reason than damage.

    """
    messages = _read_stretch(topic, after)
    if messages:
        return messages
    with _snapshot(topic.connection):
        head = find_head(*topic)
        if after >= head:
            return []
        found = topic.next_whole(after + 1, head)
        end = head + 1 if found is None else found.sequence
        first = _first_kept(topic, after, end)
        if first is None:
            return _read_stretch(topic, end - 1)
    raise DamagedMessagesError(name, first, end - 1)


def checked(topic_id: int, sequence: int, row: Sequence[Any]) -> WholeMessage | None:
    """Return the message of a place from the row that lies there, None if it is damaged."""
    accepted_at, payload, trace, stored = row
    if accepted_at is None or payload is None:
        return None
    try:
        traceparent = None if trace is None else trace.decode()
    except UnicodeDecodeError:
        return None
    if stored != checksum(topic_id, sequence, accepted_at, payload, traceparent):
        return None
    return WholeMessage(sequence, accepted_at, payload, traceparent or "")


def _read_stretch(topic: StoredTopic, after: int) -> list[WholeMessage]:
    """Return the whole messages from ``after + 1`` on, until one is missing or damaged."""
    messages: list[WholeMessage] = []
    size = 0
    with contextlib.closing(topic.following(after + 1)) as following:
        for message in following:
            if message is None or message.sequence != after + 1 + len(messages):
                break
            messages.append(message)
            size += len(message.payload)
            if read_ends(message.sequence, size):
                break
    return messages


def _first_kept(topic: StoredTopic, after: int, end: int) -> int | None:
    """Return the first of the messages after ``after`` and before ``end`` that is damaged.

    Those before it have expired. Return None if all of them have.
    """
    connection, topic_id, newest = topic
    try:
        (lowest,) = connection.execute(
            "SELECT min(sequence) FROM places WHERE topic_id = ?", (topic_id,)
        ).fetchone()
        (indexed,) = connection.execute(
            "SELECT head FROM topics WHERE id = ?", (topic_id,)
        ).fetchone() or (0,)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        return after + 1
    if lowest is None:
        # No message expires before the file has its place.
        lowest = next((place.sequence for place in newest if place.sequence > indexed), end)
    return None if lowest >= end else max(after + 1, int(lowest))


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
