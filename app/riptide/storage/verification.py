"""Checks a whole log: its tables, and each message by its checksum; also while a service uses it.

Each step reads a little in a transaction of its own, so that the service can move its write-ahead
log to the database meanwhile.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from riptide.errors import DamagedMessagesError, InvalidTopicError
from riptide.message import check_topic
from riptide.storage.disk_room import primary_code
from riptide.storage.schema import SCHEMA_VERSION, find_foreignness
from riptide.storage.whole_messages import find_earliest, is_damage, read_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Small tables, which are checked in one statement each. That of the messages is checked message by
# message, and as a whole only in a file that nobody uses.
_SMALL_TABLES = ("topics", "lives", "beginnings", "forgettings")
_TOPICS_AT_ONCE = 1000


def find_damage(
    connection: sqlite3.Connection,
    advance: Callable[[int], object] = lambda _messages: None,
    *,
    at_rest: bool,
) -> Iterator[str]:
    """Yield a line about each thing that is damaged: nothing for a log that is whole.

    ``advance`` is called with the number of messages that were checked since the last call.
    ``at_rest`` says that nobody uses the file, so that one statement may read all of it. The
    messages of a log of an older version have no checksums; only its tables are checked.

    Raises:
        sqlite3.Error: the file cannot be read, for another reason than damage.

    """
    foreignness, is_current = _look_at_kind(connection)
    if foreignness is not None:
        yield foreignness
        return
    parts: list[Iterator[str]] = []
    if not is_current:
        parts.append(_check_table(connection, ""))
    else:
        tables = (*_SMALL_TABLES, "messages") if at_rest else _SMALL_TABLES
        parts += [_check_table(connection, table) for table in tables]
        parts += [_check_epochs(connection), _check_topics(connection, advance)]
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


def _to_its_end(part: Iterator[str]) -> Iterator[str]:
    """Yield what a part of the check finds; if damage ends the part, that is its last finding."""
    try:
        yield from part
    except sqlite3.DatabaseError as error:
        if not _is_about_content(error):
            raise
        yield f"a part of the log cannot be read: {error}"


def _is_about_content(error: sqlite3.Error) -> bool:
    return is_damage(error) or primary_code(error) in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}


def _check_table(connection: sqlite3.Connection, table: str) -> Iterator[str]:
    """Check the pages of a table and of its indexes; an empty name stands for all tables."""
    argument = f"({table})" if table else ""
    for (finding,) in connection.execute(f"PRAGMA integrity_check{argument}").fetchall():
        if finding != "ok":
            yield f"table {table}: {finding}" if table else str(finding)


def _check_epochs(connection: sqlite3.Connection) -> Iterator[str]:
    """Look for what would change ids: epochs that are none, and lives that are not known."""
    for number, epoch in connection.execute(
        "SELECT number, CAST(epoch AS BLOB) FROM lives WHERE length(epoch) != 8 "
        "OR epoch GLOB '*[^0-9a-f]*'"
    ).fetchall():
        yield f"life {number} of the log: its epoch {epoch!r} is damaged"
    for topic_id, life in connection.execute(
        "SELECT topic_id, life FROM beginnings WHERE life NOT IN (SELECT number FROM lives) "
        "OR topic_id NOT IN (SELECT id FROM topics)"
    ).fetchall():
        yield f"topic with id {topic_id}: that it has messages of life {life} is damaged"


def _check_topics(
    connection: sqlite3.Connection, advance: Callable[[int], object]
) -> Iterator[str]:
    known: set[int] = set()
    last_id = 0
    while True:
        topics = connection.execute(
            "SELECT id, CAST(name AS BLOB), head FROM topics WHERE id > ? ORDER BY id LIMIT ?",
            (last_id, _TOPICS_AT_ONCE),
        ).fetchall()
        for topic_id, name, head in topics:
            known.add(topic_id)
            try:
                topic = check_topic(name.decode())
            except (InvalidTopicError, UnicodeDecodeError):
                yield f"topic {name!r}: its name is damaged"
                topic = f"with id {topic_id}"
            yield from _check_messages(connection, topic, topic_id, head, advance)
        if len(topics) < _TOPICS_AT_ONCE:
            break
        last_id = topics[-1][0]
    yield from _check_owners(connection, known)


def _check_messages(
    connection: sqlite3.Connection,
    topic: str,
    topic_id: int,
    head: int,
    advance: Callable[[int], object],
) -> Iterator[str]:
    after = find_earliest(connection, topic_id, head) - 1
    damaged: tuple[int, int] | None = None
    while after < head:
        try:
            messages = read_whole(connection, topic, topic_id, after, head)
        except DamagedMessagesError as error:
            # Long holes come in pieces.
            joins = damaged is not None and damaged[1] + 1 == error.first
            if damaged is not None and not joins:
                yield _range_text(topic, damaged)
            damaged = (damaged[0] if damaged and joins else error.first, error.last)
            after = error.last
        else:
            if not messages:
                # All that were left have expired meanwhile.
                break
            after = messages[-1].sequence
            advance(len(messages))
    if damaged is not None:
        yield _range_text(topic, damaged)


def _range_text(topic: str, damaged: tuple[int, int]) -> str:
    first, last = damaged
    which = f"message {first} is" if first == last else f"messages {first} to {last} are"
    return f"topic {topic}: {which} damaged"


def _check_owners(connection: sqlite3.Connection, known: set[int]) -> Iterator[str]:
    """Look for messages of topics that are not known, from one topic to the next."""
    topic_id = 0
    while True:
        row = connection.execute(
            "SELECT CAST(topic_id AS INTEGER) FROM messages WHERE topic_id > ? "
            "ORDER BY topic_id LIMIT 1",
            (topic_id,),
        ).fetchone()
        if row is None or row[0] <= topic_id:
            return
        (topic_id,) = row
        is_new = connection.execute("SELECT 1 FROM topics WHERE id = ?", (topic_id,)).fetchone()
        if topic_id not in known and is_new is None:
            yield f"topic with id {topic_id}: its name is lost"
