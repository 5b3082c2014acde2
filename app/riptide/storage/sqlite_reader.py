"""The threads that read the SQLite log, so that nothing short waits for something long."""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

from riptide.errors import LogUnavailableError
from riptide.message import Acceptance, Message
from riptide.storage import message_log
from riptide.storage.forgotten_topics import END_OF_LIFE
from riptide.storage.message_log import Bounds, ListedTopic, read_ends

if TYPE_CHECKING:
    from collections.abc import Callable

    from riptide.storage.sqlite_file import SqliteFile

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

RETRY_AFTER_S = 5


class SqliteReader:
    """Reads places and names on one thread, and messages on another.

    Where a topic begins and ends, and which topics there are, is known in microseconds, while
    messages are read for milliseconds. Both threads read all rows of a statement at once: a
    statement that is left open would keep the write-ahead log from being reused.
    """

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._lookups = _Connection("riptide-log-lookups")
        self._messages = _Connection("riptide-log-reader")

    async def open(self) -> None:
        """Connect to the file.

        Raises:
            sqlite3.Error: the file cannot be opened.

        """
        await self._lookups.open(self._file)
        await self._messages.open(self._file)

    async def close(self) -> None:
        """Finish what is being read, and end the threads."""
        await self._lookups.close()
        await self._messages.close()

    async def bounds(self, topic: str) -> Bounds:
        """Return which messages of the topic there are."""
        return await self._lookups.run(_select_bounds, topic)

    async def end_of(self, life: int, topic: str) -> int | None:
        """Return where the topic ended in a life of the log, given by its number."""
        return await self._lookups.run(_select_end, life, topic)

    async def topics(self, after: str, limit: int) -> list[ListedTopic]:
        """Return the topics whose names come after ``after``."""
        return await self._lookups.run(_select_topics, after, limit)

    async def read(self, topic: str, after: int) -> list[Message]:
        """Return the messages that follow ``after``."""
        return await self._messages.run(_select_messages, topic, after)


class _Connection:
    """A connection to the file, and the thread that alone uses it."""

    def __init__(self, thread_name: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=thread_name)
        self._connection: sqlite3.Connection | None = None

    async def open(self, file: SqliteFile) -> None:
        self._connection = await self._on_thread(file.connect)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._on_thread(connection.close)
        self._thread.shutdown()

    async def run(
        self, select: Callable[[sqlite3.Connection, *Arguments], T], *arguments: *Arguments
    ) -> T:
        """Call a function with the connection on the thread.

        Raises:
            LogUnavailableError: the log cannot be read.

        """
        try:
            if self._connection is None:
                raise sqlite3.ProgrammingError("the log is not open")
            return await self._on_thread(select, self._connection, *arguments)
        except sqlite3.Error as error:
            raise LogUnavailableError(
                f"the message log cannot be read ({error}); try again later",
                retry_after=RETRY_AFTER_S,
            ) from error

    async def _on_thread(self, function: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)


def _select_bounds(connection: sqlite3.Connection, topic: str) -> Bounds:
    row = connection.execute("SELECT id, head FROM topics WHERE name = ?", (topic,)).fetchone()
    if row is None:
        return Bounds(earliest=1, head=0)
    topic_id, head = row
    earliest = connection.execute(
        "SELECT min(sequence) FROM messages WHERE topic_id = ?", (topic_id,)
    ).fetchone()[0]
    return Bounds(head + 1 if earliest is None else earliest, head)


def _select_topics(connection: sqlite3.Connection, after: str, limit: int) -> list[ListedTopic]:
    rows = connection.execute(
        "SELECT name, head, (SELECT min(sequence) FROM messages WHERE topic_id = topics.id), "
        "(SELECT epoch FROM beginnings JOIN lives ON number = life "
        "WHERE topic_id = topics.id AND first <= head ORDER BY first DESC LIMIT 1) "
        "FROM topics WHERE name > ? ORDER BY name LIMIT ?",
        (after, limit),
    )
    return [
        ListedTopic(name, Bounds(head + 1 if earliest is None else earliest, head), epoch)
        for name, head, earliest, epoch in rows
    ]


def _select_end(connection: sqlite3.Connection, life: int, topic: str) -> int | None:
    # One statement sees the database as it is between two commits of the writer.
    end, is_forgotten = connection.execute(END_OF_LIFE, {"life": life, "topic": topic}).fetchone()
    return None if is_forgotten else int(end)


def _select_epochs(connection: sqlite3.Connection, topic: str, after: int) -> list[tuple[int, str]]:
    """Return the first sequence number and the epoch of each life in the topic, newest first.

    The last of them is the life of the message that follows ``after``.
    """
    return connection.execute(
        "SELECT first, epoch FROM beginnings JOIN lives ON number = life "
        "WHERE topic_id = (SELECT id FROM topics WHERE name = ?1) AND first >= coalesce("
        "(SELECT max(first) FROM beginnings WHERE first <= ?2 "
        "AND topic_id = (SELECT id FROM topics WHERE name = ?1)), 0) "
        "ORDER BY first DESC",
        (topic, after + 1),
    ).fetchall()


def _select_messages(connection: sqlite3.Connection, topic: str, after: int) -> list[Message]:
    rows = connection.execute(
        "SELECT sequence, accepted_at, payload, traceparent FROM messages "
        "WHERE topic_id = (SELECT id FROM topics WHERE name = ?) AND sequence > ? "
        "ORDER BY sequence LIMIT ?",
        (topic, after, message_log.READ_MESSAGES),
    )
    kept, size = [], 0
    for row in rows:
        kept.append(row)
        size += len(row[2])
        if read_ends(row[0], size):
            break
    rows.close()
    # Read after the messages, so that the life of each message is among them.
    epochs = _select_epochs(connection, topic, after)
    messages = []
    # One offset between the two clocks for all messages, so that they stay in order.
    epoch_start = Acceptance.at(0)
    accepted = epoch_start
    for sequence, accepted_at, payload, traceparent in kept:
        if accepted_at != accepted.unix_ns:
            accepted = Acceptance(accepted_at, epoch_start.monotonic_ns + accepted_at)
        while len(epochs) > 1 and epochs[-2][0] <= sequence:
            epochs.pop()
        epoch = epochs[-1][1]
        messages.append(Message(epoch, sequence, accepted, payload, traceparent or ""))
    return messages
