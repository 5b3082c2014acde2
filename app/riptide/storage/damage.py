"""What a log has found to be damaged since it was opened: counts for the metrics, log records."""

from __future__ import annotations

import logging
import sqlite3
import threading
from typing import TYPE_CHECKING

from riptide.storage.disk_room import primary_code

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("riptide.log")

# Codes of SQLite for content that cannot be what was written.
_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_TOOBIG})
# So many findings are remembered, so that each is said once however many consumers meet it.
SAID = 1_000


def is_damage(error: Exception) -> bool:
    """Return whether an error says that the content of the file is damaged."""
    return isinstance(error, sqlite3.Error) and primary_code(error) in _CODES


class Damage:
    """Counts, which any thread may read and add to.

    ``unreadable_messages`` counts a message each time it was to be read, or checked, and failed.
    ``lost_frames`` counts the pages of the write-ahead log that were behind damage when the log was
    opened; their messages are lost.
    """

    def __init__(self, read_disk: Callable[[], object] = lambda: None) -> None:
        """``read_disk`` raises an ``OSError`` if nothing of the file can be read at all.

        SQLite calls a page malformed too if the disk fails to give it.
        """
        self._read_disk = read_disk
        self.unreadable_messages = 0
        self.lost_frames = 0
        self._lock = threading.Lock()
        self._said: set[str] = set()

    def found(self, topic: str, first: int, last: int) -> None:
        """Note messages of a topic that cannot be delivered."""
        self.note(
            f"messages of the log are damaged and are not delivered: topic {topic}, {first} to "
            f"{last}",
            last - first + 1,
        )

    def require_disk(self) -> None:
        """Check that the disk gives something of the file.

        Raises:
            sqlite3.OperationalError: it does not.

        """
        try:
            self._read_disk()
        except OSError as error:
            raise sqlite3.OperationalError(f"the disk cannot be read: {error.strerror}") from error

    def found_no_life(self, topic: str) -> None:
        """Note that the ids of a topic's messages cannot be told, so that none is delivered."""
        self.note(f"it is damaged in which life the messages of topic {topic} were published", 1)

    def note(self, finding: str, message_count: int) -> None:
        """Note anything that is damaged, and how many messages cannot be delivered because of it.

        A finding is said the first time.

        Raises:
            sqlite3.OperationalError: the disk gives nothing, so nothing is known to be damaged.

        """
        self.require_disk()
        with self._lock:
            self.unreadable_messages += message_count
            if finding in self._said:
                return
            if len(self._said) >= SAID:
                self._said.clear()
            self._said.add(finding)
        logger.error("%s; look for errors of the disk, and see what riptide verify finds", finding)
