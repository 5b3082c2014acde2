"""The log in SQLite: one thread writes, another reads, neither is the event loop's."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

from riptide.errors import DamagedMessagesError, LogUnavailableError
from riptide.message import Acceptance, Message
from riptide.storage.damage import is_damage
from riptide.storage.forgotten_topics import END_OF_LIFE
from riptide.storage.log_watch import PROBE_INTERVAL_S, ThreadWatch
from riptide.storage.message_log import RETRY_AFTER_S, Bounds, ListedTopic
from riptide.storage.self_check import SelfCheck
from riptide.storage.sqlite_file import SqliteFile
from riptide.storage.sqlite_writer import Append, SqliteWriter
from riptide.storage.topic_ends import find_bounds
from riptide.storage.topic_list import list_topics
from riptide.storage.whole_messages import StoredTopic, read_whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from riptide.process.faults import Faults
    from riptide.publication import Publication
    from riptide.storage.message_log import Retention

logger = logging.getLogger("riptide.log")

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class SqliteLog:
    """A ``MessageLog`` in ``riptide.db`` of a directory.

    An append is acknowledged when its transaction is on the disk; all appends that wait share one
    transaction and one fsync (group commit). Each opening of the log begins a new life.
    """

    def __init__(self, directory: Path, retention: Retention, faults: Faults | None = None) -> None:
        self.epoch = ""
        self._file = SqliteFile(directory, retention.topics)
        self.damage = self._file.damage
        self._writer = SqliteWriter(self._file, retention, faults)
        self._self_check = SelfCheck(self._file, self._writer.places)
        self.checkpoints = self._writer.checkpoints
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="riptide-log-reader")
        self._read_watch = ThreadWatch("a read")
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open or create the file, and start the writer."""
        self.epoch = await self._on_reader(self._file.open)
        with self._file.explained():
            self._connection = await self._run_on_reader(self._file.connect)
            await self._run_on_reader(self._writer.start)
            await self._run_on_reader(self._self_check.start)
            await self._run_on_reader(self._file.hold)

    async def close(self) -> None:
        """Commit the appends that wait, then close the file.

        If the disk hangs, return all the same, with the directory locked until the process ends.
        """
        await asyncio.to_thread(self._self_check.stop)
        if not await asyncio.to_thread(self._writer.stop):
            logger.error(
                "the log's disk hangs: the process ends without waiting for it any longer. What "
                "was acknowledged is kept; what waits may be kept or not"
            )
            return
        if self._connection is not None:
            await self._on_reader(self._connection.close)
            self._connection = None
        self._reader.shutdown()
        self._file.close()

    def append(self, publication: Publication) -> asyncio.Future[int]:
        """Queue the payloads for the next commit."""
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._writer.put(Append(publication, done))
        return done

    async def bounds(self, topic: str) -> Bounds:
        """Return which messages of the topic there are."""
        return await self._on_reader(self._select_bounds, topic)

    async def end_of(self, epoch: str, topic: str) -> int | None:
        """Return where the topic ended in a life of the log."""
        life = self._file.lives.get(epoch)
        return None if life is None else await self._on_reader(self._select_end, life, topic)

    async def read(self, topic: str, after: int) -> list[Message]:
        """Return the messages that follow ``after``."""
        return await self._on_reader(self._select_messages, topic, after)

    async def topics(self, after: str, limit: int) -> list[ListedTopic]:
        """Return the topics whose names come after ``after``."""
        return await self._on_reader(self._select_topics, after, limit)

    def size_bytes(self) -> int:
        """Return the size of the database and of its write-ahead log."""
        return self._file.size_bytes()

    def wal_bytes(self) -> int:
        """Return the size of the write-ahead log."""
        return self._file.room.wal_bytes()

    def free_bytes(self) -> int:
        """Return how many bytes of the database were free when the writer last looked."""
        return self._writer.free_space.free_bytes

    def checkpoint_age_s(self) -> float:
        """Return how long something has waited to be moved from the write-ahead log."""
        return self.checkpoints.age_s()

    async def watch(self) -> None:
        """Read a little every few seconds, for nobody may come and find that reads fail."""
        while True:
            await asyncio.sleep(PROBE_INTERVAL_S)
            try:
                await self._run_on_reader(self._probe)
            except sqlite3.Error as error:
                if self._read_watch.failure is None:
                    logger.error("the message log cannot be read: %s", error)  # noqa: TRY400  # SQLite's text is all there is to know
                self._read_watch.failure = f"it cannot be read: {error}"
            else:
                if self._read_watch.failure is not None:
                    logger.info("the message log can be read again")
                self._read_watch.failure = None

    def oldest_append_age_s(self) -> float:
        """Return how long the oldest append or other write under way has taken."""
        return self._writer.oldest_append_age_s()

    def append_stall_s(self) -> float:
        """Return the longest time of the last minute in which appends waited for an answer."""
        return self._writer.append_stall_s()

    def unavailable_reason(self) -> str | None:
        """Return why the log cannot be written or read at the moment."""
        return self._writer.failure() or self._read_watch.reason()

    async def _on_reader(self, function: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
        try:
            return await self._run_on_reader(function, *arguments)
        except sqlite3.Error as error:
            raise LogUnavailableError(
                f"the message log cannot be read ({error}); try again later",
                retry_after=RETRY_AFTER_S,
            ) from error

    async def _run_on_reader(
        self, function: Callable[[*Arguments], T], *arguments: *Arguments
    ) -> T:
        def watched() -> T:
            with self._read_watch.busy():
                return function(*arguments)

        return await asyncio.get_running_loop().run_in_executor(self._reader, watched)

    def _probe(self) -> None:
        # The writer's last commit, a probe too, has emptied this connection's cache of pages.
        for table in ("topics", "messages"):
            try:
                self._execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()  # noqa: S608  # two names
            except sqlite3.DatabaseError as error:
                # The disk did give something, and the rest of the log is served.
                if not is_damage(error):
                    raise

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.ProgrammingError("the log is not open")
        return self._connection

    def _execute(self, statement: str, *values: str | int) -> sqlite3.Cursor:
        return self._connected().execute(statement, values)

    def _select_bounds(self, topic: str) -> Bounds:
        row = self._execute("SELECT id FROM topics WHERE name = ?", topic).fetchone()
        if row is None:
            return Bounds(earliest=1, head=0)
        return find_bounds(self._connected(), row[0], self._writer.places.of(row[0]))

    def _select_topics(self, after: str, limit: int) -> list[ListedTopic]:
        return list_topics(self._connected(), self._writer.places, self.damage, after, limit)

    def _select_end(self, life: int, topic: str) -> int | None:
        # One statement sees the database as it is between two commits of the writer.
        values = {"life": life, "topic": topic}
        end, is_forgotten = self._connected().execute(END_OF_LIFE, values).fetchone()
        if is_forgotten:
            return None
        return self._select_bounds(topic).head if end is None else int(end)

    def _select_epochs(self, topic_id: int, after: int) -> list[tuple[int, str]]:
        """Return the first sequence number and the epoch of each life in the topic, newest first.

        The last of them is the life of the message that follows ``after``.
        """
        return self._execute(
            "SELECT first, epoch FROM beginnings JOIN lives ON number = life "
            "WHERE topic_id = ?1 AND first >= coalesce("
            "(SELECT max(first) FROM beginnings WHERE first <= ?2 AND topic_id = ?1), 0) "
            "ORDER BY first DESC",
            topic_id,
            after + 1,
        ).fetchall()

    def _select_messages(self, topic: str, after: int) -> list[Message]:
        row = self._execute("SELECT id FROM topics WHERE name = ?", topic).fetchone()
        if row is None:
            return []
        (topic_id,) = row
        stored = StoredTopic(self._connected(), topic_id, self._writer.places.of(topic_id))
        try:
            rows = read_whole(stored, topic, after)
        except DamagedMessagesError as damaged:
            self.damage.found(topic, damaged.first, damaged.last)
            raise
        if not rows:
            return []
        # Read after the messages, so that the life of each message is among them.
        epochs = self._select_epochs(topic_id, after)
        if not epochs:
            self.damage.found_no_life(topic)
            raise sqlite3.DatabaseError("it is damaged in which life its messages were published")
        messages = []
        # One difference between the two clocks for all messages, so that they stay in order.
        now = accepted = Acceptance.now()
        for sequence, accepted_at, payload, traceparent in rows:
            if accepted_at != accepted.unix_ns:
                accepted = Acceptance.at(accepted_at, now)
            while len(epochs) > 1 and epochs[-2][0] <= sequence:
                epochs.pop()
            epoch = epochs[-1][1]
            messages.append(Message(epoch, sequence, accepted, payload, traceparent))
        return messages
