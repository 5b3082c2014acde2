"""The log in SQLite of a service that is stopped: its topics, and their messages with their ids."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from riptide.errors import DamagedMessagesError, InvalidTopicError, MigrationError
from riptide.message import check_topic
from riptide.storage.damage import is_damage
from riptide.storage.places import Places
from riptide.storage.selects import select_messages
from riptide.storage.sqlite_file import START_PATIENCE_S, SqliteFile
from riptide.storage.topic_ends import find_bounds
from riptide.storage.unindexed_messages import load_places

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from riptide.message import Message
    from riptide.storage.message_log import Bounds


class RestingTopic(NamedTuple):
    """A topic: which messages it has, and of which epoch its newest one is, kept or expired.

    ``lives`` are the first number and the epoch of each life with messages of it, oldest first.
    """

    name: str
    bounds: Bounds
    lives: tuple[tuple[int, str], ...]

    @property
    def epoch(self) -> str:
        """The epoch of the newest message."""
        return self.lives[-1][1]

    def epoch_at(self, sequence: int) -> str | None:
        """Return the epoch of a number; None if its life is forgotten, as all of it expired."""
        return next((epoch for first, epoch in reversed(self.lives) if first <= sequence), None)


class LogSize(NamedTuple):
    """How much a log has: its messages, the bytes of all payloads, and those of the largest."""

    messages: int
    payload_bytes: int
    largest_bytes: int


class LogAtRest:
    """Opens a log as the service does, locked against it, and only reads it.

    As with each start of the service, a log of an older version is brought up to date, and a life
    begins, in which nothing is written.
    """

    def __init__(self, directory: Path) -> None:
        self._file = SqliteFile(directory)
        self._places = Places()
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        """Open and lock the log.

        Raises:
            MigrationError: there is none.
            DataDirectoryError: a service uses it, or it cannot be read.
            LogCorruptError: the file is no log, or damaged beyond messages that can be left out.

        """
        path = self._file.path
        if not path.is_file():
            raise MigrationError(
                f"there is no log in {path.parent}: set RIPTIDE_DATA_DIR to the directory that the "
                "service has had it in"
            )
        self._file.open()
        try:
            self._connection = self._file.connect(START_PATIENCE_S)
            load_places(self._places, self._connection, self._file.damage)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close and unlock the log."""
        self._close()

    def knows(self, epoch: str) -> bool:
        """Return whether the log remembers a life."""
        return epoch in self._file.lives

    def size(self) -> LogSize:
        """Return how much the log has; one that cannot be counted counts as empty."""
        try:
            count, total, largest = self._sql.execute(
                "SELECT count(*), coalesce(sum(size), 0), coalesce(max(size), 0) FROM places"
            ).fetchone()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            return LogSize(0, 0, 0)
        for places in self._places.all().values():
            count += len(places)
            total += sum(place.size for place in places)
            largest = max(largest, *(place.size for place in places))
        return LogSize(count, total, largest)

    def topics(self) -> Iterator[RestingTopic]:
        """Yield the topics that have, or have had, messages.

        What cannot be told of a damaged topic leaves it out; that is said in a log record.
        """
        rows = self._sql.execute("SELECT id, CAST(name AS BLOB) FROM topics ORDER BY id").fetchall()
        for topic_id, encoded in rows:
            try:
                name = check_topic(encoded.decode())
            except (InvalidTopicError, UnicodeDecodeError):
                self._file.damage.note(f"the name of a topic is damaged: {encoded!r}", 0)
                continue
            bounds = find_bounds(self._sql, topic_id, self._places.of(topic_id))
            if not bounds.head:
                continue
            lives = self._sql.execute(
                "SELECT first, epoch FROM beginnings JOIN lives ON number = life "
                "WHERE topic_id = ? ORDER BY first",
                (topic_id,),
            ).fetchall()
            if lives:
                yield RestingTopic(name, bounds, tuple(lives))
            else:
                self._file.damage.found_no_life(name)

    def messages(self, topic: str, after: int) -> Iterator[list[Message]]:
        """Yield the messages that follow a number, as many at once as the service reads.

        Those that are damaged are left out, which is said in log records.
        """
        while True:
            try:
                found = select_messages(self._sql, self._places, self._file.damage, topic, after)
            except DamagedMessagesError as damaged:
                after = damaged.last
                continue
            if not found:
                return
            yield found
            after = found[-1].sequence

    @property
    def damaged_messages(self) -> int:
        """How many messages were found to be damaged, each time that they were to be read."""
        return self._file.damage.unreadable_messages

    @property
    def _sql(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.ProgrammingError("the log is not open")
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._file.close()
