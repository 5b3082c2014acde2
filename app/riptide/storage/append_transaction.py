"""The transaction that writes appends: all of them or none, with the sequence numbers they get."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from riptide.storage.checksum import checksum
from riptide.storage.disk_room import DatabaseSize
from riptide.storage.forgotten_topics import create_topic
from riptide.storage.live_topics import Earliest, LiveTopic, LiveTopics
from riptide.storage.places import Place, Places
from riptide.storage.schema import PAGE_BYTES, touch
from riptide.storage.topic_ends import find_head, find_id
from riptide.storage.transaction import synced

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from riptide.publication import Publication
    from riptide.storage.message_log import Retention
    from riptide.storage.sqlite_file import SqliteFile

# Heads of topics without messages that are kept in memory, where they are found faster.
HEADS_KEPT = 1_000


class _Head(NamedTuple):
    topic_id: int
    sequence: int


class _Written(NamedTuple):
    """What a transaction writes.

    These are the new heads of topics by name, the oldest messages of topics that had none by id,
    the first sequence number of each publication (None for one to a topic too many), and the places
    of messages by the id of their topic.
    """

    heads: dict[str, _Head]
    begun: dict[int, Earliest]
    firsts: list[int | None]
    places: list[tuple[int, list[Place]]]


class AppendTransaction:
    """Writes publications on one connection, and knows the heads of the topics they are for."""

    def __init__(
        self, file: SqliteFile, retention: Retention, live: LiveTopics, places: Places
    ) -> None:
        self._file = file
        self._retention = retention
        self._live = live
        self._places = places
        # Only topics that were published to in this life of the log, and some that have no messages
        # any more.
        self._heads: dict[str, _Head] = {}
        self._life = max(file.lives.values())
        self._life_is_kept = file.life_is_kept

    def write(
        self, connection: sqlite3.Connection, publications: Sequence[Publication]
    ) -> list[int | None]:
        """Write all publications; return the sequence number of each one's first message.

        Without any, the transaction changes nothing, but it is committed and synced all the same.

        The number is None for a publication to a topic too many, of which nothing is written.

        Raises:
            OutcomeUnknownError: the messages may have been kept.
            sqlite3.Error, OSError: nothing was kept.

        """

        def size() -> DatabaseSize:
            free, pages = (
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("freelist_count", "page_count")
            )
            return DatabaseSize(free * PAGE_BYTES, pages * PAGE_BYTES)

        self._file.room.require(publications, size)
        # Within a transaction that has met a damaged page, SQLite writes nothing more.
        found = self._find_heads(connection, publications)
        with synced(connection):
            written = self._insert_all(connection, publications, found)
        self._remember(written)
        return written.firsts

    def forget_heads(self) -> None:
        """Leave the heads of topics without messages to the database, once they are many."""
        if len(self._heads) > HEADS_KEPT + 2 * len(self._live):
            self._heads = {
                name: head for name, head in self._heads.items() if head.topic_id in self._live
            }

    def _find_heads(
        self, connection: sqlite3.Connection, publications: Sequence[Publication]
    ) -> dict[str, _Head | None]:
        """Find the heads of topics that are not known yet; None for topics that are new."""
        topics = {publication.topic for publication in publications}
        return {
            topic: _find_head(connection, self._places, topic)
            for topic in topics - self._heads.keys()
        }

    def _insert_all(
        self,
        connection: sqlite3.Connection,
        publications: Sequence[Publication],
        found: Mapping[str, _Head | None],
    ) -> _Written:
        if not self._life_is_kept:
            self._keep_life(connection)
        if not publications:
            touch(connection)
        written = _Written({}, {}, [], [])
        heads, begun, firsts, places = written
        position = self._places.next_position
        for publication in publications:
            topic = publication.topic
            known = heads.get(topic) or self._heads.get(topic)
            head = known or found[topic]
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
            new = _insert(connection, publication, head, position)
            position += len(new)
            places.append((head.topic_id, new))
            heads[topic] = _Head(head.topic_id, new[-1].sequence)
        return written

    def _remember(self, written: _Written) -> None:
        """Take over what a transaction has written, once it is committed."""
        self._life_is_kept = True
        for topic_id, places in written.places:
            self._places.add(topic_id, places)
        self._heads |= written.heads
        for name, (topic_id, sequence) in written.heads.items():
            if topic_id in written.begun:
                self._live.update(LiveTopic(topic_id, name, written.begun[topic_id], sequence))
            else:
                self._live.grow(topic_id, sequence)

    def _keep_life(self, connection: sqlite3.Connection) -> None:
        """Write this life, for which the disk had no room when the log was opened."""
        epoch = next(e for e, number in self._file.lives.items() if number == self._life)
        connection.execute("INSERT INTO lives VALUES (?, ?)", (self._life, epoch))


def _find_head(connection: sqlite3.Connection, places: Places, topic: str) -> _Head | None:
    topic_id = find_id(connection, topic)
    if topic_id is None:
        return None
    return _Head(topic_id, find_head(connection, topic_id, places.of(topic_id)))


def _begin(connection: sqlite3.Connection, head: _Head, life: int) -> None:
    """Record that the topic's next messages are of this life, unless that is recorded."""
    connection.execute(
        "INSERT INTO beginnings SELECT ?1, ?2, ?3 "
        "WHERE NOT EXISTS (SELECT 1 FROM beginnings WHERE topic_id = ?1 AND life = ?3)",
        (head.topic_id, head.sequence + 1, life),
    )


def _insert(
    connection: sqlite3.Connection, publication: Publication, head: _Head, position: int
) -> list[Place]:
    """Insert the messages behind a head, from a position on; return their places."""
    topic_id, accepted_at = head.topic_id, publication.accepted.unix_ns
    traceparent = publication.traceparent or None
    numbered = list(enumerate(publication.payloads, 1))
    connection.executemany(
        "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (
                position + number - 1,
                topic_id,
                head.sequence + number,
                accepted_at,
                checksum(topic_id, head.sequence + number, accepted_at, payload, traceparent),
                payload,
                traceparent,
            )
            for number, payload in numbered
        ],
    )
    return [
        Place(head.sequence + number, position + number - 1, len(payload))
        for number, payload in numbered
    ]
