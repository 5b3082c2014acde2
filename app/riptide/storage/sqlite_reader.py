"""The threads that read the SQLite log, so that nothing short waits for something long."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

from riptide.errors import LogUnavailableError
from riptide.storage import selects
from riptide.storage.log_watch import PROBE_INTERVAL_S, ThreadWatch
from riptide.storage.message_log import RETRY_AFTER_S
from riptide.storage.topic_list import find_topic, list_topics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from riptide.message import Message, MessageId
    from riptide.storage.damage import Damage
    from riptide.storage.message_log import Bounds, IdState, ListedTopic
    from riptide.storage.places import Places
    from riptide.storage.sqlite_file import SqliteFile

logger = logging.getLogger("riptide.log")

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class SqliteReader:
    """Reads places and names on one thread, and messages on another.

    Where a topic begins and ends, and which topics there are, is known in microseconds, while
    messages are read for milliseconds.
    """

    def __init__(self, file: SqliteFile, places: Places) -> None:
        """``places``: those that the file does not have yet."""
        self._file = file
        self._places = places
        self._lookups = _Connection("riptide-log-lookups")
        self._messages = _Connection("riptide-log-reader")
        # Why the last probe failed, None if it did not.
        self._failure: str | None = None

    async def open(self) -> None:
        """Connect to the file, and so start the threads.

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
        return await self._lookups.run(selects.select_bounds, self._places, topic)

    async def topic(self, name: str, epoch: str) -> ListedTopic:
        """Return the bounds of a topic and its newest epoch, or ``epoch`` if it has had none."""
        return await self._lookups.run(find_topic, self._places, name, epoch)

    async def place(self, life: int, topic: str, position: MessageId) -> IdState:
        """Return what is known of an id of a life, which is given by its number."""
        return await self._lookups.run(selects.select_id_state, self._places, life, topic, position)

    async def topics(self, names: Sequence[str]) -> list[ListedTopic]:
        """Return the topics of these names that have messages."""
        return await self._lookups.run(list_topics, self._places, self._file.damage, names)

    async def read(self, topic: str, after: int) -> list[Message]:
        """Return the messages that follow ``after``."""
        return await self._messages.run(
            selects.select_messages, self._places, self._file.damage, topic, after
        )

    async def watch(self) -> None:
        """Let each thread read a little every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(PROBE_INTERVAL_S)
            damage = self._file.damage
            probes = (self._lookups.probe(damage), self._messages.probe(damage))
            failure = next(filter(None, await asyncio.gather(*probes)), None)
            if failure is not None and self._failure is None:
                logger.error("the message log cannot be read: %s", failure)
            elif failure is None and self._failure is not None:
                logger.info("the message log can be read again")
            self._failure = failure

    def failure(self) -> str | None:
        """Return why the log cannot be read at the moment; None if it can."""
        too_long = self._lookups.watch.reason() or self._messages.watch.reason()
        return too_long or (self._failure and f"it cannot be read: {self._failure}")


class _Connection:
    """A connection to the file, and the thread that alone uses it."""

    def __init__(self, thread_name: str) -> None:
        self.watch = ThreadWatch("a read")
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

    async def probe(self, damage: Damage) -> str | None:
        """Return why nothing can be read; None if something can."""
        try:
            if self._connection is not None:
                await self._on_thread(selects.probe, self._connection, damage)
        except sqlite3.Error as error:
            return str(error)
        return None

    async def _on_thread(self, function: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
        def watched() -> T:
            with self.watch.busy():
                return function(*arguments)

        return await asyncio.get_running_loop().run_in_executor(self._thread, watched)
