"""Reports what a recovery left in the write-ahead log, and keeps it, before it is overwritten.

SQLite's recovery is silent: if one frame is damaged, all commits behind it are gone, acknowledged
or not. What they held is said here, as far as it can still be read.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from riptide.storage.data_directory import FILE_MODE, adopt
from riptide.storage.page_records import messages_on
from riptide.storage.schema import LAST_BY_TOPIC
from riptide.storage.wal_frames import find_left_frames, frames_offset, header_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from riptide.storage.page_records import FoundMessage
    from riptide.storage.wal_frames import LeftFrames

logger = logging.getLogger("riptide.log")

# Files that are kept, and the most bytes of each. Whoever looks into the matter deletes them.
KEPT_FILES = 8
KEPT_BYTES = 64 * 1024 * 1024
# Topics that one log record names.
NAMED_TOPICS = 20
_NOT_INDEXED = (
    "SELECT topic_id, sequence FROM messages WHERE position > (SELECT indexed FROM progress)"
)


def report_remains(connection: sqlite3.Connection, database: Path) -> int:
    """Report frames behind the last commit, and keep them; return how many are behind damage.

    Call this before anything is written: a write overwrites them. Afterwards the write-ahead log is
    empty, so that the next start does not report them again.

    Raises:
        OSError: the write-ahead log cannot be read.
        sqlite3.Error: the database cannot be read.

    """
    wal = Path(f"{database}-wal")
    if not wal.exists():
        return 0
    left = find_left_frames(wal, _recovered_count(connection))
    if left is None:
        return 0
    messages = _not_in_log(
        connection, {found for page in left.pages for found in messages_on(page)}
    )
    held = _described(connection, messages)
    kept = _keep(wal, left)
    if left.is_broken:
        logger.error(
            "the write-ahead log is damaged: %d frames behind the damage are lost, with the end of "
            "%d commits, which may have been acknowledged (the last one may not); they held at "
            "most these messages that the log does not have: %s; %s",
            len(left.pages),
            left.commit_count,
            held,
            kept,
        )
    else:
        logger.warning(
            "the last commit in the write-ahead log has no end, and its %d frames are left out: "
            "if the process was killed or the power failed during that commit, nobody was told "
            "that it was kept; it held at most these messages that the log does not have: %s; %s",
            len(left.pages),
            held,
            kept,
        )
    # A full disk may have no room for that. Then the next start says the same again.
    with contextlib.suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return len(left.pages) if left.is_broken else 0


def kept_files(directory: Path) -> list[Path]:
    """Return the files with remains, oldest first."""
    return sorted(directory.glob("riptide.db-wal.left-*"))


def _recovered_count(connection: sqlite3.Connection) -> int:
    """Return how many frames of the write-ahead log SQLite has taken; 0 if it does not say."""
    # Whoever reads first makes SQLite recover. The frames stay in the file until a commit.
    connection.execute("PRAGMA schema_version").fetchone()
    try:
        _, frame_count, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    except sqlite3.OperationalError:
        # The disk has no room for what would be moved to the database.
        return 0
    return max(0, int(frame_count))


def _not_in_log(
    connection: sqlite3.Connection, found: Iterable[FoundMessage]
) -> list[FoundMessage]:
    """Return the messages that the log does not have; those that have expired may be among them."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    table = "messages" if version <= LAST_BY_TOPIC else "places"
    recent: set[tuple[int, int]] = set()
    missing = []
    # Where the log itself is damaged, nobody can know.
    with contextlib.suppress(sqlite3.DatabaseError):
        if version > LAST_BY_TOPIC:
            recent.update(connection.execute(_NOT_INDEXED))
    for message in sorted(found):
        row = None
        with contextlib.suppress(sqlite3.DatabaseError):
            row = connection.execute(
                f"SELECT 1 FROM {table} WHERE topic_id = ? AND sequence = ?",  # noqa: S608  # two names
                message[:2],
            ).fetchone()
        if row is None and message[:2] not in recent:
            missing.append(message)
    return missing


def _described(connection: sqlite3.Connection, messages: list[FoundMessage]) -> str:
    """Return how many messages of which topics these are, with their numbers and times."""
    if not messages:
        return "none that can be read"
    topics: dict[int, list[FoundMessage]] = {}
    for message in messages:
        topics.setdefault(message.topic_id, []).append(message)
    texts = []
    for topic_id, of_topic in list(topics.items())[:NAMED_TOPICS]:
        row = connection.execute("SELECT name FROM topics WHERE id = ?", (topic_id,)).fetchone()
        name = f"topic {row[0]}" if row else f"a new topic (id {topic_id})"
        first, last = of_topic[0], of_topic[-1]
        texts.append(
            f"{name}: {len(of_topic)}, {first.sequence} to {last.sequence}, accepted "
            f"{_in_utc(first)} to {_in_utc(last)}"
        )
    if len(topics) > NAMED_TOPICS:
        texts.append(f"and messages of {len(topics) - NAMED_TOPICS} other topics")
    return f"{len(messages)} ({'; '.join(texts)})"


def _in_utc(message: FoundMessage) -> str:
    return f"{datetime.fromtimestamp(message.accepted_at / 1e9, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def _keep(wal: Path, left: LeftFrames) -> str:
    """Copy the header and the frames to a file of their own; return what became of that."""
    if len(kept_files(wal.parent)) >= KEPT_FILES:
        return f"there are {KEPT_FILES} files {wal.name}.left-* already, so they were not kept"
    moment = time.time_ns()
    name = f"{datetime.fromtimestamp(moment / 1e9, UTC):%Y%m%dT%H%M%S}-{moment % 10**9:09}Z"
    copy = wal.with_name(f"{wal.name}.left-{name}")
    try:
        with wal.open("rb") as source:
            head = source.read(header_bytes())
            source.seek(frames_offset(left.first, left.page_bytes))
            content = source.read(KEPT_BYTES)
        descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        with os.fdopen(descriptor, "wb") as target:
            target.write(head + content)
            target.flush()
            os.fsync(descriptor)
        adopt(copy)
    except OSError as error:
        with contextlib.suppress(OSError):
            copy.unlink(missing_ok=True)
        return f"they could not be kept ({error.strerror})"
    return f"they are kept in {copy}"
