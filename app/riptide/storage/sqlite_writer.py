"""The thread that writes to the SQLite log: group commit and retention."""

from __future__ import annotations

import contextlib
import logging
import queue
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, TypeVarTuple

from riptide.errors import LogUnavailableError
from riptide.process.faults import Faults
from riptide.storage.checkpoints import Checkpoints
from riptide.storage.disk_room import is_full, is_in_use
from riptide.storage.expired_messages import (
    delete_before,
    find_live_topics,
    first_to_keep,
)
from riptide.storage.forgotten_topics import create_topic
from riptide.storage.free_space import FreeSpace
from riptide.storage.live_topics import Earliest, LiveTopic, LiveTopics
from riptide.storage.schema import PAGE_BYTES
from riptide_telemetry import ServicePart

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from riptide.publication import Publication
    from riptide.storage.message_log import Retention
    from riptide.storage.sqlite_file import SqliteFile

logger = logging.getLogger("riptide.log")

Arguments = TypeVarTuple("Arguments")

COMMIT_MESSAGES = 10_000
TRIM_INTERVAL_S = 5.0
# Messages that are deleted from a topic in one transaction: few, so that appends wait little.
TRIM_MESSAGES = 2_000
# By so much fewer are deleted after each deletion that the disk had no room for.
TRIM_DIVISOR = 10
# Heads of topics without messages that are kept in memory, where they are found faster.
HEADS_KEPT = 1_000
RETRY_AFTER_S = 5
FAILURE_LASTS_S = 30.0
# What publishers are told, with the reason.
NOT_KEPT = (
    "the message could not be kept ({}) and was not published; try again later, and tell the "
    "operator to look at the log's disk"
)
OUTCOME_UNKNOWN = (
    "the message may have been kept or not ({}): read the topic before you publish it again, and "
    "tell the operator to look at the service's log records"
)


class Append(NamedTuple):
    """A publication to commit, and the future of its first message's sequence number."""

    publication: Publication
    done: asyncio.Future[int]


class _Head(NamedTuple):
    topic_id: int
    sequence: int


class _Written(NamedTuple):
    """What a transaction writes.

    These are the new heads of topics by name, the oldest messages of topics that had none by id,
    and the first sequence number of each append; None for one to a topic too many.
    """

    heads: dict[str, _Head]
    begun: dict[int, Earliest]
    firsts: list[int | None]


class SqliteWriter:
    """Commits all appends that wait in one transaction, and trims between commits."""

    def __init__(
        self, file: SqliteFile, retention: Retention, faults: Faults | None = None
    ) -> None:
        self._faults = faults or Faults()
        self.checkpoints = Checkpoints(file, self._faults)
        self.free_space = FreeSpace()
        # Why the thread takes no more appends, once that is so.
        self._ended: str | None = None
        self._failure: str | None = None
        self._failed_at = 0.0
        self._file = file
        self._retention = retention
        self._queue: queue.SimpleQueue[Append | None] = queue.SimpleQueue()
        # Only topics that were published to in this life of the log, and some that have no messages
        # any more.
        self._heads: dict[str, _Head] = {}
        self._life = 0
        self._life_is_kept = True
        # Of topics that have no messages, only the sequence numbers are remembered.
        self._live = LiveTopics(retention)
        self._trim_messages = TRIM_MESSAGES
        # True from a commit or a deletion that the disk had no room for until one that it had.
        self._lacks_room = False
        self._thread: threading.Thread | None = None
        # Appends that the thread has taken from the queue and not answered yet.
        self._taken: list[Append] = []

    def start(self) -> None:
        """Connect to the file, and start the thread.

        Raises:
            sqlite3.Error: the file cannot be opened or read.

        """
        of_checkpoints, connection = self._file.connect(), self._file.connect()
        self._life = max(self._file.lives.values())
        self._life_is_kept = self._file.life_is_kept
        self._live = LiveTopics(self._retention, find_live_topics(connection))
        self._thread = threading.Thread(
            target=self._run, args=[connection], name="riptide-log-writer", daemon=True
        )
        self._thread.start()
        self.checkpoints.start(of_checkpoints)

    def stop(self) -> None:
        """Commit the appends that wait and end the thread; blocks until then."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self.checkpoints.stop()

    def put(self, append: Append) -> None:
        """Queue an append for the next commit. If the thread has failed, refuse it."""
        self._queue.put(append)
        if self._ended is not None:
            self._refuse_waiting(self._ended)

    def failure(self) -> str | None:
        """Return why the last commit failed, for ``FAILURE_LASTS_S`` after the failure.

        If the thread itself has failed, return that for ever.

        The service is not ready meanwhile. If that lasted until the next commit, no publisher
        might come and find that the disk has room again.
        """
        if self._ended is not None:
            return self._ended
        recently = time.monotonic() - self._failed_at < FAILURE_LASTS_S
        return (self._failure if recently else None) or self.checkpoints.failure()

    def _run(self, connection: sqlite3.Connection) -> None:
        try:
            self._work(connection)
        except BaseException as error:  # noqa: BLE001  # whatever it was, publishers wait for an answer
            self._ended = f"its writer failed ({type(error).__name__})"
            self._faults.report(ServicePart.LOG_WRITER, error)
            _call_on_loop(self._taken, _refuse, OUTCOME_UNKNOWN.format(self._ended))
            self._refuse_waiting(self._ended)
        finally:
            connection.close()

    def _work(self, connection: sqlite3.Connection) -> None:
        next_trim = time.monotonic()
        running = True
        while running:
            running = self._wait_for_appends(next_trim - time.monotonic())
            if self._taken:
                self._commit(connection, self._taken)
                self._taken = []
                self.checkpoints.between_commits(connection)
            if time.monotonic() >= next_trim:
                more = self._trim(connection)
                vacuumed = not more and self._give_back(connection)
                self.checkpoints.between_commits(connection, vacuumed=vacuumed)
                more |= vacuumed
                next_trim = time.monotonic() + (0 if more else TRIM_INTERVAL_S)

    def _wait_for_appends(self, timeout: float) -> bool:
        """Take the appends that come before the timeout (seconds); return whether more may come."""
        message_count = 0
        try:
            append = self._queue.get(timeout=max(0.0, timeout))
            while append is not None:
                self._taken.append(append)
                message_count += len(append.publication.payloads)
                if message_count >= COMMIT_MESSAGES:
                    return True
                append = self._queue.get_nowait()
        except queue.Empty:
            return True
        return False

    def _refuse_waiting(self, reason: str) -> None:
        """Refuse the appends in the queue, which nobody takes from it any more."""
        waiting: list[Append] = []
        with contextlib.suppress(queue.Empty):
            while True:
                append = self._queue.get_nowait()
                if append is not None:
                    waiting.append(append)
        _call_on_loop(waiting, _refuse, NOT_KEPT.format(reason))

    def _commit(self, connection: sqlite3.Connection, appends: list[Append]) -> None:
        try:
            written = self._write_on_any_disk(connection, appends)
        except Exception as error:  # noqa: BLE001  # whatever it was, publishers wait for an answer
            reason = _reason(error)
            self._failure = reason
            self._failed_at = time.monotonic()
            self._lacks_room = is_full(error)
            logger.error("the message log refused %d appends: %s", len(appends), reason)  # noqa: TRY400  # SQLite's text is all there is to know
            if not isinstance(error, sqlite3.Error | OSError):
                self._faults.report(ServicePart.LOG_WRITER, error)
            _call_on_loop(appends, _refuse, NOT_KEPT.format(reason))
        else:
            self._failure = None
            self._lacks_room = False
            self._remember(written)
            _call_on_loop(appends, _acknowledge, written.firsts, self._retention)

    def _write_on_any_disk(self, connection: sqlite3.Connection, appends: list[Append]) -> _Written:
        try:
            return self._write(connection, appends)
        except (sqlite3.Error, OSError) as error:
            if not is_full(error) or not self._file.make_room(connection):
                raise
        return self._write(connection, appends)

    def _write(self, connection: sqlite3.Connection, appends: list[Append]) -> _Written:
        def reusable_bytes() -> int:
            return int(connection.execute("PRAGMA freelist_count").fetchone()[0]) * PAGE_BYTES

        self.checkpoints.require_bound()
        self._file.room.require([append.publication for append in appends], reusable_bytes)
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            return self._insert_all(connection, appends)

    def _insert_all(self, connection: sqlite3.Connection, appends: list[Append]) -> _Written:
        if not self._life_is_kept:
            self._keep_life(connection)
        written = _Written({}, {}, [])
        heads, begun, firsts = written
        for publication, _done in appends:
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

    def _trim(self, connection: sqlite3.Connection) -> bool:
        """Delete some expired messages; return whether more are left."""
        try:
            self.checkpoints.require_bound()
            if self._lacks_room:
                self._file.make_room(connection)
            more = self._delete_expired(connection)
            self._lacks_room = False
            self._forget_heads()
            if not more:
                self._trim_messages = TRIM_MESSAGES
                self._file.room.make_reserve()
        except (sqlite3.Error, OSError) as error:
            self._lacks_room = is_full(error)
            if self._lacks_room and self._find_room():
                return True
            logger.warning("expired messages could not be deleted: %s", _reason(error))
            return False
        return more

    def _give_back(self, connection: sqlite3.Connection) -> bool:
        """Give some room that deletions have left to the disk; return whether there may be more."""
        # Pages are given back by way of the write-ahead log, which must not grow for that.
        if self._lacks_room or self.checkpoints.is_held_back():
            return False
        try:
            return self.free_space.give_back(connection)
        except sqlite3.Error as error:
            logger.warning("free room in the database could not be given back: %s", _reason(error))
            return False

    def _forget_heads(self) -> None:
        """Leave the heads of topics without messages to the database, once they are many."""
        if len(self._heads) > HEADS_KEPT + 2 * len(self._live):
            self._heads = {
                name: head for name, head in self._heads.items() if head.topic_id in self._live
            }

    def _find_room(self) -> bool:
        """Prepare another attempt to delete, with more room or in less; False if there is none."""
        if self._file.room.give_up_reserve():
            return True
        fewer = self._trim_messages // TRIM_DIVISOR
        self._trim_messages = max(1, fewer)
        return fewer > 0

    def _delete_expired(self, connection: sqlite3.Connection) -> bool:
        oldest = self._retention.oldest_kept()
        more = False
        for topic in self._live.due(oldest):
            first_kept = self._retention.first_kept(topic.head)
            keep_from = first_to_keep(connection, topic, first_kept, oldest)
            step_end = topic.earliest.sequence + self._trim_messages
            more |= step_end < keep_from
            left = delete_before(connection, topic.topic_id, min(keep_from, step_end))
            self._live.settle(topic, left)
        return more

    def _keep_life(self, connection: sqlite3.Connection) -> None:
        """Write this life, for which the disk had no room when the log was opened."""
        epoch = next(e for e, number in self._file.lives.items() if number == self._life)
        connection.execute("INSERT INTO lives VALUES (?, ?)", (self._life, epoch))


def _reason(error: Exception) -> str:
    if isinstance(error, sqlite3.Error) and is_in_use(error):
        return "another program has locked the log; find that program and end it"
    return str(error)


def _find_head(connection: sqlite3.Connection, topic: str) -> _Head | None:
    row = connection.execute("SELECT id, head FROM topics WHERE name = ?", (topic,)).fetchone()
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


def _call_on_loop(
    appends: list[Append],
    function: Callable[[list[Append], *Arguments], None],
    *arguments: *Arguments,
) -> None:
    """Call a function with the appends on their event loop, if there are any."""
    if not appends:
        return
    try:
        appends[0].done.get_loop().call_soon_threadsafe(function, appends, *arguments)
    except RuntimeError:
        logger.warning("%d appends ended after the event loop did", len(appends))


def _acknowledge(appends: list[Append], firsts: list[int | None], retention: Retention) -> None:
    """Finish the futures of the appends, in order, on the event loop."""
    for append, first in zip(appends, firsts, strict=True):
        if append.done.done():
            continue
        if first is None:
            append.done.set_exception(retention.no_more_topics())
        else:
            append.done.set_result(first)


def _refuse(appends: list[Append], detail: str) -> None:
    """Fail the futures of the appends, in order, on the event loop."""
    for append in appends:
        if not append.done.done():
            append.done.set_exception(LogUnavailableError(detail, retry_after=RETRY_AFTER_S))
