"""The transaction that writes appends: all of them or none, with the sequence numbers they get."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from riptide.storage.disk_room import primary_code
from riptide.storage.forgotten_topics import create_topic
from riptide.storage.live_topics import Earliest, LiveTopic, LiveTopics
from riptide.storage.schema import PAGE_BYTES, SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from riptide.publication import Publication
    from riptide.storage.message_log import Retention
    from riptide.storage.sqlite_file import SqliteFile

# Heads of topics without messages that are kept in memory, where they are found faster.
HEADS_KEPT = 1_000

# Commits that failed in these ways have surely left nothing behind: what ends a transaction is the
# last that is written, so a failed write means that it was not, and a lock that nothing was.
_NOTHING_WRITTEN = frozenset(
    {sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMMAP}
)
_NOTHING_COMMITTED = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


class OutcomeUnknownError(Exception):
    """A commit has failed, and after a crash its messages may be there or not."""


class _Head(NamedTuple):
    topic_id: int
    sequence: int


class _Written(NamedTuple):
    """What a transaction writes.

    These are the new heads of topics by name, the oldest messages of topics that had none by id,
    and the first sequence number of each publication; None for one to a topic too many.
    """

    heads: dict[str, _Head]
    begun: dict[int, Earliest]
    firsts: list[int | None]


class AppendTransaction:
    """Writes publications on one connection, and knows the heads of the topics they are for."""

    def __init__(self, file: SqliteFile, retention: Retention, live: LiveTopics) -> None:
        self._file = file
        self._retention = retention
        self._live = live
        # Only topics that were published to in this life of the log, and some that have no messages
        # any more.
        self._heads: dict[str, _Head] = {}
        self._life = max(file.lives.values())
        self._life_is_kept = file.life_is_kept

    def write(
        self, connection: sqlite3.Connection, publications: Sequence[Publication]
    ) -> list[int | None]:
        """Write all publications; return the sequence number of each one's first message.

        It is None for a publication to a topic too many, of which nothing is written.

        Raises:
            OutcomeUnknownError: the messages may have been kept.
            sqlite3.Error, OSError: nothing was kept.

        """

        def reusable_bytes() -> int:
            return int(connection.execute("PRAGMA freelist_count").fetchone()[0]) * PAGE_BYTES

        self._file.room.require(publications, reusable_bytes)
        connection.execute("BEGIN IMMEDIATE")
        try:
            written = self._insert_all(connection, publications)
        except BaseException:
            roll_back(connection)
            raise
        _commit(connection)
        self._remember(written)
        return written.firsts

    def forget_heads(self) -> None:
        """Leave the heads of topics without messages to the database, once they are many."""
        if len(self._heads) > HEADS_KEPT + 2 * len(self._live):
            self._heads = {
                name: head for name, head in self._heads.items() if head.topic_id in self._live
            }

    def _insert_all(
        self, connection: sqlite3.Connection, publications: Sequence[Publication]
    ) -> _Written:
        if not self._life_is_kept:
            self._keep_life(connection)
        written = _Written({}, {}, [])
        heads, begun, firsts = written
        for publication in publications:
            topic = publication.topic
            known = heads.get(topic) or self._heads.get(topic)
            head = known or _find_head(connection, topic)
            is_live = head is not None and (head.topic_id in self._live or head.topic_id in begun)
            if not is_live and len(self._live) + len(begun) >= self._retention.topics:
                firsts.append(None)
                continue
            head = head or _Head(create_topic(connection, topic), 0)
            if known is None:
                _begin(connection, head, self._life)
            if not is_live:
                begun[head.topic_id] = Earliest(head.sequence + 1, publication.accepted.unix_ns)
            firsts.append(head.sequence + 1)
            heads[topic] = _insert(connection, publication, head)
        connection.executemany(
            "UPDATE topics SET head = ? WHERE id = ?",
            [(head.sequence, head.topic_id) for head in heads.values()],
        )
        return written

    def _remember(self, written: _Written) -> None:
        """Take over what a transaction has written, once it is committed."""
        self._life_is_kept = True
        self._heads |= written.heads
        for topic_id, sequence in written.heads.values():
            if topic_id in written.begun:
                self._live.update(LiveTopic(topic_id, written.begun[topic_id], sequence))
            else:
                self._live.grow(topic_id, sequence)

    def _keep_life(self, connection: sqlite3.Connection) -> None:
        """Write this life, for which the disk had no room when the log was opened."""
        epoch = next(e for e, number in self._file.lives.items() if number == self._life)
        connection.execute("INSERT INTO lives VALUES (?, ?)", (self._life, epoch))


def roll_back(connection: sqlite3.Connection) -> None:
    """Undo the transaction, unless SQLite has done so because of the error."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def touch(connection: sqlite3.Connection) -> None:
    """Commit a transaction that changes nothing, and wait until it is on the disk.

    It takes the place in the write-ahead log of a commit that has failed. SQLite checks the frames
    there as a chain (SQLite file format, 4.2), so nothing of the failed commit comes back after a
    crash.

    Raises:
        sqlite3.Error: the commit has failed.

    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        roll_back(connection)
        raise


def _commit(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        roll_back(connection)
        if primary_code(error) in _NOTHING_COMMITTED or error.sqlite_errorcode in _NOTHING_WRITTEN:
            raise
        _undo_for_good(connection, error)
        raise


def _undo_for_good(connection: sqlite3.Connection, failure: sqlite3.Error) -> None:
    """See that nothing of a commit of unknown outcome comes back after a crash.

    Raises:
        OutcomeUnknownError: that failed too.

    """
    try:
        touch(connection)
    except sqlite3.Error:
        raise OutcomeUnknownError(str(failure)) from failure


def _find_head(connection: sqlite3.Connection, topic: str) -> _Head | None:
    # The messages know better where they end, should the topic's own row be damaged.
    row = connection.execute(
        "SELECT id, max(head, coalesce("
        "(SELECT max(sequence) FROM messages WHERE topic_id = topics.id), 0)) "
        "FROM topics WHERE name = ?",
        (topic,),
    ).fetchone()
    return row and _Head(*row)


def _begin(connection: sqlite3.Connection, head: _Head, life: int) -> None:
    """Record that the topic's next messages are of this life, unless that is recorded."""
    connection.execute(
        "INSERT INTO beginnings SELECT ?1, ?2, ?3 "
        "WHERE NOT EXISTS (SELECT 1 FROM beginnings WHERE topic_id = ?1 AND life = ?3)",
        (head.topic_id, head.sequence + 1, life),
    )


def _insert(connection: sqlite3.Connection, publication: Publication, head: _Head) -> _Head:
    accepted_at, traceparent = publication.accepted.unix_ns, publication.traceparent or None
    connection.executemany(
        "INSERT INTO messages VALUES (?, ?, ?, ?, ?)",
        [
            (head.topic_id, sequence, accepted_at, payload, traceparent)
            for sequence, payload in enumerate(publication.payloads, head.sequence + 1)
        ],
    )
    return _Head(head.topic_id, head.sequence + len(publication.payloads))
