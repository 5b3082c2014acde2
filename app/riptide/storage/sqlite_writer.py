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


class SqliteWriter:
    """Commits all appends that wait in one transaction, and trims between commits."""

    def __init__(
        self, file: SqliteFile, retention: Retention, faults: Faults | None = None
    ) -> None:
        self._faults = faults or Faults()
        # Why the thread takes no more appends, once that is so.
        self._ended: str | None = None
        self._failure: str | None = None
        self._failed_at = 0.0
        self._file = file
        self._retention = retention
        self._queue: queue.SimpleQueue[Append | None] = queue.SimpleQueue()
        # Only topics that were published to in this life of the log.
        self._heads: dict[str, _Head] = {}
        self._life = 0
        # Ids of the topics that have messages. Of others, only the sequence numbers are remembered.
        self._live: set[int] = set()
        self._thread: threading.Thread | None = None
        # Appends that the thread has taken from the queue and not answered yet.
        self._taken: list[Append] = []

    def start(self) -> None:
        """Connect to the file, and start the thread.

        Raises:
            sqlite3.Error: the file cannot be opened or read.

        """
        connection = self._file.connect()
        self._life = max(self._file.lives.values())
        self._live = {
            topic_id
            for (topic_id,) in connection.execute(
                "SELECT id FROM topics WHERE EXISTS "
                "(SELECT 1 FROM messages WHERE topic_id = topics.id)"
            )
        }
        self._thread = threading.Thread(
            target=self._run, args=[connection], name="riptide-log-writer", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Commit the appends that wait and end the thread; blocks until then."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()

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
        return self._failure if recently else None

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
            if time.monotonic() >= next_trim:
                more = self._trim(connection)
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
        heads: dict[str, _Head] = {}
        live = self._live.copy()
        firsts: list[int | None] = []
        try:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                for publication, _done in appends:
                    topic = publication.topic
                    known = heads.get(topic) or self._heads.get(topic)
                    head = known or _find_head(connection, topic)
                    is_live = head is not None and head.topic_id in live
                    if not is_live and len(live) >= self._retention.topics:
                        firsts.append(None)
                        continue
                    head = head or _create_topic(connection, topic)
                    if known is None:
                        _begin(connection, head, self._life)
                    firsts.append(head.sequence + 1)
                    heads[topic] = _insert(connection, publication, head)
                    live.add(head.topic_id)
                connection.executemany(
                    "UPDATE topics SET head = ? WHERE id = ?",
                    [(head.sequence, head.topic_id) for head in heads.values()],
                )
        except Exception as error:  # noqa: BLE001  # whatever it was, publishers wait for an answer
            self._failure = str(error)
            self._failed_at = time.monotonic()
            logger.error("the message log refused %d appends: %s", len(appends), error)  # noqa: TRY400  # SQLite's text is all there is to know
            if not isinstance(error, sqlite3.Error):
                self._faults.report(ServicePart.LOG_WRITER, error)
            _call_on_loop(appends, _refuse, NOT_KEPT.format(error))
        else:
            self._failure = None
            self._heads |= heads
            self._live = live
            _call_on_loop(appends, _acknowledge, firsts, self._retention)

    def _trim(self, connection: sqlite3.Connection) -> bool:
        """Delete some expired messages of each topic; return whether more are left."""
        oldest = self._retention.oldest_kept()
        more = False
        try:
            for topic_id, head in connection.execute("SELECT id, head FROM topics").fetchall():
                if topic_id not in self._live:
                    continue
                earliest = connection.execute(
                    "SELECT min(sequence) FROM messages WHERE topic_id = ?", (topic_id,)
                ).fetchone()[0]
                if earliest is None:
                    self._live.discard(topic_id)
                    continue
                first_kept = self._retention.first_kept(head)
                more |= _trim_topic(connection, topic_id, earliest, first_kept, oldest)
        except sqlite3.Error as error:
            logger.warning("expired messages could not be deleted: %s", error)
            return False
        return more


def _find_head(connection: sqlite3.Connection, topic: str) -> _Head | None:
    row = connection.execute("SELECT id, head FROM topics WHERE name = ?", (topic,)).fetchone()
    return row and _Head(*row)


def _begin(connection: sqlite3.Connection, head: _Head, life: int) -> None:
    """Record that the topic's next messages are of this life."""
    connection.execute(
        "INSERT INTO beginnings VALUES (?, ?, ?)", (head.topic_id, head.sequence + 1, life)
    )


def _create_topic(connection: sqlite3.Connection, name: str) -> _Head:
    cursor = connection.execute("INSERT INTO topics (name, head) VALUES (?, 0)", (name,))
    return _Head(int(cursor.lastrowid or 0), 0)


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


def _trim_topic(
    connection: sqlite3.Connection, topic_id: int, earliest: int, first_by_count: int, oldest: int
) -> bool:
    # Messages are accepted in the order of their numbers, so the scan ends at the first to keep.
    young = connection.execute(
        "SELECT sequence FROM messages WHERE topic_id = ? AND sequence >= ? AND accepted_at >= ? "
        "ORDER BY sequence LIMIT 1",
        (topic_id, first_by_count, oldest),
    ).fetchone()
    step_end = earliest + TRIM_MESSAGES
    keep_from = step_end if young is None else min(young[0], step_end)
    if keep_from <= earliest:
        return False
    deleted = connection.execute(
        "DELETE FROM messages WHERE topic_id = ? AND sequence < ?", (topic_id, keep_from)
    ).rowcount
    # Forget lives of which the topic has no message left. A consumer that resumes from one of
    # their ids has missed messages in any case.
    connection.execute(
        "DELETE FROM beginnings WHERE topic_id = ? AND first < "
        "(SELECT max(first) FROM beginnings WHERE topic_id = ? AND first <= ?)",
        (topic_id, topic_id, keep_from),
    )
    return deleted == TRIM_MESSAGES


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
