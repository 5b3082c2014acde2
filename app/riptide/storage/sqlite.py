"""The log in SQLite: one thread writes, another reads, neither is the event loop's."""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

from riptide.errors import LogUnavailableError
from riptide.message import Acceptance, Message
from riptide.storage.forgotten_topics import END_OF_LIFE
from riptide.storage.message_log import READ_BYTES, READ_MESSAGES, Bounds, ListedTopic
from riptide.storage.sqlite_file import SqliteFile
from riptide.storage.sqlite_writer import RETRY_AFTER_S, Append, SqliteWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from riptide.process.faults import Faults
    from riptide.publication import Publication
    from riptide.storage.message_log import Retention

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
        self._writer = SqliteWriter(self._file, retention, faults)
        self.checkpoints = self._writer.checkpoints
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="riptide-log-reader")
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open or create the file, and start the writer."""
        self.epoch = await self._on_reader(self._file.open)
        with self._file.explained():
            self._connection = await self._run_on_reader(self._file.connect)
            await self._run_on_reader(self._writer.start)

    async def close(self) -> None:
        """Commit the appends that wait, then close the file."""
        await asyncio.to_thread(self._writer.stop)
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

    def unavailable_reason(self) -> str | None:
        """Return why the last commit failed, if that was a short time ago."""
        return self._writer.failure()

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
        return await asyncio.get_running_loop().run_in_executor(self._reader, function, *arguments)

    def _execute(self, statement: str, *values: str | int) -> sqlite3.Cursor:
        if self._connection is None:
            raise sqlite3.ProgrammingError("the log is not open")
        return self._connection.execute(statement, values)

    def _select_bounds(self, topic: str) -> Bounds:
        row = self._execute("SELECT id, head FROM topics WHERE name = ?", topic).fetchone()
        if row is None:
            return Bounds(earliest=1, head=0)
        topic_id, head = row
        earliest = self._execute(
            "SELECT min(sequence) FROM messages WHERE topic_id = ?", topic_id
        ).fetchone()[0]
        return Bounds(head + 1 if earliest is None else earliest, head)

    def _select_topics(self, after: str, limit: int) -> list[ListedTopic]:
        rows = self._execute(
            "SELECT name, head, (SELECT min(sequence) FROM messages WHERE topic_id = topics.id), "
            "(SELECT epoch FROM beginnings JOIN lives ON number = life "
            "WHERE topic_id = topics.id AND first <= head ORDER BY first DESC LIMIT 1) "
            "FROM topics WHERE name > ? ORDER BY name LIMIT ?",
            after,
            limit,
        )
        return [
            ListedTopic(name, Bounds(head + 1 if earliest is None else earliest, head), epoch)
            for name, head, earliest, epoch in rows
        ]

    def _select_end(self, life: int, topic: str) -> int | None:
        if self._connection is None:
            raise sqlite3.ProgrammingError("the log is not open")
        # One statement sees the database as it is between two commits of the writer.
        end, is_forgotten = self._connection.execute(
            END_OF_LIFE, {"life": life, "topic": topic}
        ).fetchone()
        return None if is_forgotten else int(end)

    def _select_epochs(self, topic: str, after: int) -> list[tuple[int, str]]:
        """Return the first sequence number and the epoch of each life in the topic, newest first.

        The last of them is the life of the message that follows ``after``.
        """
        return self._execute(
            "SELECT first, epoch FROM beginnings JOIN lives ON number = life "
            "WHERE topic_id = (SELECT id FROM topics WHERE name = ?1) AND first >= coalesce("
            "(SELECT max(first) FROM beginnings WHERE first <= ?2 "
            "AND topic_id = (SELECT id FROM topics WHERE name = ?1)), 0) "
            "ORDER BY first DESC",
            topic,
            after + 1,
        ).fetchall()

    def _select_messages(self, topic: str, after: int) -> list[Message]:
        rows = self._execute(
            "SELECT sequence, accepted_at, payload, traceparent FROM messages "
            "WHERE topic_id = (SELECT id FROM topics WHERE name = ?) AND sequence > ? "
            "ORDER BY sequence LIMIT ?",
            topic,
            after,
            READ_MESSAGES,
        )
        # Read after the messages, so that the life of each message is among them.
        epochs = self._select_epochs(topic, after)
        messages, size = [], 0
        # One offset between the two clocks for all messages, so that they stay in order.
        epoch_start = Acceptance.at(0)
        accepted = epoch_start
        for sequence, accepted_at, payload, traceparent in rows:
            if accepted_at != accepted.unix_ns:
                accepted = Acceptance(accepted_at, epoch_start.monotonic_ns + accepted_at)
            while len(epochs) > 1 and epochs[-2][0] <= sequence:
                epochs.pop()
            epoch = epochs[-1][1]
            messages.append(Message(epoch, sequence, accepted, payload, traceparent or ""))
            size += len(payload)
            if size >= READ_BYTES:
                break
        return messages
