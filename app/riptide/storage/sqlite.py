"""The log in SQLite: threads of its own write and read, never the event loop's."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from riptide.storage.feeds import Feeds
from riptide.storage.message_log import Connection, IdState
from riptide.storage.self_check import SelfCheck
from riptide.storage.sqlite_file import SqliteFile
from riptide.storage.sqlite_reader import SqliteReader
from riptide.storage.sqlite_writer import Append, SqliteWriter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from riptide.message import Message, MessageId, Receipt
    from riptide.process.faults import Faults
    from riptide.publication import Publication
    from riptide.storage.message_log import Answer, Bounds, Feed, ListedTopic, Retention

logger = logging.getLogger("riptide.log")


class SqliteLog:
    """A ``MessageLog`` in ``riptide.db`` of a directory.

    An append is acknowledged when its transaction is on the disk; all appends that wait share one
    transaction and one fsync (group commit). Each opening of the log begins a new life.
    """

    def __init__(self, directory: Path, retention: Retention, faults: Faults | None = None) -> None:
        self.epoch = ""
        self._retention = retention
        self._file = SqliteFile(directory, retention.topics)
        self.damage = self._file.damage
        self.connection = Connection()
        self._feeds = Feeds()
        self._writer = SqliteWriter(self._file, retention, self._feeds, faults)
        self._self_check = SelfCheck(self._file, self._writer.places)
        self.checkpoints = self._writer.checkpoints
        self._reader = SqliteReader(self._file, self._writer.places)

    async def open(self) -> None:
        """Open or create the file, and start the writer."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, thread_name_prefix="riptide-log-opener") as opener:
            self.epoch = await loop.run_in_executor(opener, self._file.open)
            with self._file.explained():
                await self._reader.open()
                await loop.run_in_executor(opener, self._writer.start)
                await loop.run_in_executor(opener, self._self_check.start)
                await loop.run_in_executor(opener, self._file.hold)

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
        await self._reader.close()
        self._file.close()

    def append(self, publication: Publication) -> asyncio.Future[Receipt]:
        """Queue the payloads for the next commit."""
        done: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._writer.put(Append(publication, done))
        return done

    def append_for(self, publication: Publication, answer: Answer) -> None:
        """Queue the payloads for the next commit."""
        self._writer.put(Append(publication, answer))

    async def bounds(self, topic: str) -> Bounds:
        """Return which messages of the topic there are."""
        return await self._reader.bounds(topic)

    async def follow(self, topic: str, feed: Feed) -> ListedTopic:
        """Push the topic's messages to the feed from now on."""
        self._feeds.follow(topic, feed)
        return await self._reader.topic(topic, self.epoch)

    def unfollow(self, topic: str, feed: Feed) -> None:
        """Push nothing more of the topic to the feed."""
        self._feeds.unfollow(topic, feed)

    def followed_count(self) -> int:
        """Return how many topics have feeds."""
        return self._feeds.topic_count()

    async def place(self, topic: str, position: MessageId) -> IdState:
        """Return whether a consumer can go on after an id of a life that the log remembers."""
        life = self._file.lives.get(position.epoch)
        if life is None:
            return IdState.NEVER
        return await self._reader.place(life, topic, position)

    async def read(self, topic: str, after: int) -> list[Message]:
        """Return the messages that follow ``after``."""
        return await self._reader.read(topic, after)

    async def names(self, after: str, limit: int) -> list[str]:
        """Return the names of topics with messages that come after ``after``."""
        return self._writer.names.after(after, limit)

    async def topics(self, names: Sequence[str]) -> list[ListedTopic]:
        """Return the topics of these names that have messages."""
        return await self._reader.topics(names)

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
        await self._reader.watch()

    def oldest_append_age_s(self) -> float:
        """Return how long the oldest append or other write under way has taken."""
        return self._writer.oldest_append_age_s()

    def append_stall_s(self) -> float:
        """Return the longest time of the last minute in which appends waited for an answer."""
        return self._writer.append_stall_s()

    def clock_doubt(self) -> str | None:
        """Return why the clock is in doubt."""
        return self._retention.clock.doubt()

    def unavailable_reason(self) -> str | None:
        """Return why the log cannot be written or read at the moment."""
        return self._writer.failure() or self._reader.failure()
