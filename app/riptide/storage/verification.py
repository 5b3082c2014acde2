"""Checks a whole log: its tables, and each message by its checksum; also while a service uses it.

Each step reads a little in a transaction of its own, so that the service can move its write-ahead
log to the database meanwhile.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from riptide.errors import DamagedMessagesError, InvalidTopicError
from riptide.message import check_topic
from riptide.storage.damage import Damage, is_damage
from riptide.storage.disk_room import primary_code
from riptide.storage.places import Places
from riptide.storage.schema import SCHEMA_VERSION, SMALL_TABLES, find_foreignness
from riptide.storage.topic_ends import find_bounds
from riptide.storage.unindexed_messages import load_places, next_readable
from riptide.storage.whole_messages import StoredTopic, read_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Those whose pages are checked as a whole only in a file that nobody uses, since that is one
# statement. In any case each message is read.
_LARGE_TABLES = ("messages", "places")
_TOPICS_AT_ONCE = 1000
_POSITIONS_AT_ONCE = 1000
# Messages that the index does not have where it should, and so nobody finds.
_ASTRAY = """
SELECT position, topic_id, sequence,
    (SELECT position FROM places
     WHERE topic_id = messages.topic_id AND sequence = messages.sequence) IS NOT position,
    (SELECT name FROM topics WHERE id = topic_id)
FROM messages
WHERE position >= ? AND position <= (SELECT indexed FROM progress) ORDER BY position LIMIT ?
"""


class Finding(NamedTuple):
    """Something that is damaged, and how many messages are not delivered because of it."""

    text: str
    messages: int = 1


def find_damage(
    connection: sqlite3.Connection,
    places: Places | None = None,
    advance: Callable[[int], object] = lambda _messages: None,
    *,
    at_rest: bool,
) -> Iterator[Finding]:
    """Yield what is damaged: nothing for a log that is whole.

    ``places`` are those that the file does not have, if this process writes to it. ``advance`` is
    called with the number of messages that were checked since the last call. ``at_rest`` says that
    nobody uses the file, so that one statement may read all of it. The messages of a log of an
    older version have no checksums; only its tables are checked.

    Raises:
        sqlite3.Error: the file cannot be read, for another reason than damage.

    """
    foreignness, is_current = _look_at_kind(connection)
    if foreignness is not None:
        yield Finding(foreignness)
        return
    parts: list[Iterator[Finding]] = []
    if not is_current:
        parts.append(_check_table(connection, ""))
    else:
        tables = (*SMALL_TABLES, *_LARGE_TABLES) if at_rest else SMALL_TABLES
        parts += [_check_table(connection, table) for table in tables]
        parts += [
            _check_epochs(connection),
            _check_topics(connection, places, advance),
            _check_index(connection, advance),
        ]
    for part in parts:
        yield from _to_its_end(part)


@contextlib.contextmanager
def opened(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a log to read it, whether or not a service is using it.

    Raises:
        sqlite3.Error: the file cannot be opened.

    """
    # A file that nobody uses may be in a directory that nobody may write to. SQLite would put an
    # index beside it, if it was copied by hand.
    is_used = any(Path(f"{file}{suffix}").exists() for suffix in ("-wal", "-shm"))
    uri = f"{file.absolute().as_uri()}?{'mode=ro' if is_used else 'immutable=1'}"
    with contextlib.closing(
        sqlite3.connect(uri, uri=True, timeout=10, isolation_level=None)
    ) as connection:
        yield connection


def _look_at_kind(connection: sqlite3.Connection) -> tuple[str | None, bool]:
    """Return why a file is no log, if it is none, and whether it is one of this version."""
    try:
        foreignness = find_foreignness(connection)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as error:
        if not _is_about_content(error):
            raise
        return f"this is no log, or its beginning is damaged: {error}", False
    except UnicodeDecodeError:
        # SQLite's message about a damaged schema repeats the bytes that it found there.
        return "its schema is damaged: it is not UTF-8", False
    return foreignness, version == SCHEMA_VERSION


def _to_its_end(part: Iterator[Finding]) -> Iterator[Finding]:
    """Yield what a part of the check finds; if damage ends the part, that is its last finding."""
    try:
        yield from part
    except sqlite3.DatabaseError as error:
        if not _is_about_content(error):
            raise
        yield Finding(f"a part of the log cannot be read: {error}")


def _is_about_content(error: sqlite3.Error) -> bool:
    return is_damage(error) or primary_code(error) in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}


def _check_table(connection: sqlite3.Connection, table: str) -> Iterator[Finding]:
    """Check the pages of a table and of its indexes; an empty name stands for all tables."""
    argument = f"({table})" if table else ""
    for (finding,) in connection.execute(f"PRAGMA integrity_check{argument}").fetchall():
        if finding != "ok":
            yield Finding(f"table {table}: {finding}" if table else str(finding))


def _check_epochs(connection: sqlite3.Connection) -> Iterator[Finding]:
    """Look for what would change ids: epochs that are none, and lives that are not known."""
    for number, epoch in connection.execute(
        "SELECT number, CAST(epoch AS BLOB) FROM lives WHERE length(epoch) != 8 "
        "OR epoch GLOB '*[^0-9a-f]*'"
    ).fetchall():
        yield Finding(f"life {number} of the log: its epoch {epoch!r} is damaged")
    for topic_id, life in connection.execute(
        "SELECT topic_id, life FROM beginnings WHERE life NOT IN (SELECT number FROM lives) "
        "OR topic_id NOT IN (SELECT id FROM topics)"
    ).fetchall():
        yield Finding(f"topic with id {topic_id}: that it has messages of life {life} is damaged")


def _check_topics(
    connection: sqlite3.Connection, places: Places | None, advance: Callable[[int], object]
) -> Iterator[Finding]:
    if places is None:
        damage = Damage()
        places = Places()
        load_places(places, connection, damage)
        if damage.unreadable_messages:
            text = "messages that are not in the index yet are damaged"
            yield Finding(text, damage.unreadable_messages)
    last_id = 0
    while True:
        topics = connection.execute(
            "SELECT id, CAST(name AS BLOB) FROM topics WHERE id > ? ORDER BY id LIMIT ?",
            (last_id, _TOPICS_AT_ONCE),
        ).fetchall()
        for topic_id, name in topics:
            try:
                topic = check_topic(name.decode())
            except (InvalidTopicError, UnicodeDecodeError):
                yield Finding(f"topic {name!r}: its name is damaged")
                topic = f"with id {topic_id}"
            yield from _check_messages(connection, topic, topic_id, places, advance)
        if len(topics) < _TOPICS_AT_ONCE:
            return
        last_id = topics[-1][0]


def _check_messages(
    connection: sqlite3.Connection,
    topic: str,
    topic_id: int,
    places: Places,
    advance: Callable[[int], object],
) -> Iterator[Finding]:
    newest = places.of(topic_id)
    earliest, head = find_bounds(connection, topic_id, newest)
    after = earliest - 1
    damaged: tuple[int, int] | None = None
    while after < head:
        try:
            messages = read_whole(StoredTopic(connection, topic_id, newest), topic, after)
        except DamagedMessagesError as error:
            # Long holes come in pieces.
            joins = damaged is not None and damaged[1] + 1 == error.first
            if damaged is not None and not joins:
                yield _of_range(topic, damaged)
            damaged = (damaged[0] if damaged and joins else error.first, error.last)
            after = error.last
        else:
            if not messages:
                # All that were left have expired meanwhile.
                break
            after = messages[-1].sequence
            advance(len(messages))
    if damaged is not None:
        yield _of_range(topic, damaged)


def _of_range(topic: str, damaged: tuple[int, int]) -> Finding:
    first, last = damaged
    which = f"message {first} is" if first == last else f"messages {first} to {last} are"
    return Finding(f"topic {topic}: {which} damaged", last - first + 1)


def _check_index(
    connection: sqlite3.Connection, advance: Callable[[int], object]
) -> Iterator[Finding]:
    """Look for messages that nobody finds, because the index or the table of topics lacks them.

    Those between others of their topic have been found to be damaged there.
    """
    lost: Counter[int] = Counter()
    position, at_once = 1, _POSITIONS_AT_ONCE
    while True:
        try:
            rows = connection.execute(_ASTRAY, (position, at_once)).fetchall()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            if at_once == 1:
                position = max(position + 1, next_readable(connection, position).position)
            # The messages up to the page that cannot be read, one by one.
            at_once = 1
            continue
        for _, topic_id, sequence, is_astray, name in rows:
            if name is None or (is_astray and not _is_within(connection, topic_id, sequence)):
                lost[topic_id] += 1
        advance(0)
        if len(rows) < at_once:
            break
        position = rows[-1][0] + 1
    for topic_id, count in lost.items():
        row = connection.execute("SELECT name FROM topics WHERE id = ?", (topic_id,)).fetchone()
        if row is None:
            text = f"topic with id {topic_id}: its name is lost, with {count} messages"
            yield Finding(text, count)
        else:
            yield Finding(
                f"topic {row[0]}: {count} messages are not in the index: they are lost, or have "
                "expired and could not be deleted",
                count,
            )


def _is_within(connection: sqlite3.Connection, topic_id: int, sequence: int) -> bool:
    earliest, head = find_bounds(connection, topic_id)
    return earliest <= sequence <= head
