"""The thread that moves the write-ahead log of the SQLite log to the database.

A commit is safe once it is in the write-ahead log. From there a checkpoint moves it to the
database, and then the write-ahead log begins anew. SQLite would do that within a commit, and tell
nobody if it failed. This thread moves while appends go on; only the last of it is left to the
writer, between two commits, because a write-ahead log that grows meanwhile cannot begin anew.
"""

from __future__ import annotations

import errno
import logging
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Final

from riptide.process.faults import Faults
from riptide_telemetry import ServicePart

if TYPE_CHECKING:
    from riptide.storage.sqlite_file import SqliteFile

logger = logging.getLogger("riptide.log")

MEGABYTE: Final = 1024 * 1024
# However little has been written, it is moved after this time.
MOVE_AFTER_S: Final = 30.0
POLL_INTERVAL_S: Final = 0.25
# What was committed while the first pass moved the most is moved by the second, which is short.
PASSES: Final = 2
# The thread leaves the disk to appends for so long, or for as long as it has used the disk.
REST_S: Final = 0.1
# After a failure, or while a reader holds the write-ahead log.
RETRY_AFTER_S: Final = 0.25
# How long an append may wait at the end of a checkpoint for readers that have begun before it.
PATIENCE_MS: Final = 10
# While a checkpoint fails or a reader holds it, the write-ahead log grows on, and messages are
# refused beyond this. Behind a reader, it may also grow to the size of the database: a backup of a
# large log takes long, and is no reason to refuse messages.
MOST_BYTES: Final = 256 * MEGABYTE
# A failure that has lasted so long makes the service unready.
FAILURE_LASTS_S: Final = 10.0
# Our own readers are quicker than this.
HELD_AFTER_S: Final = 0.1
REPEAT_RECORD_S: Final = 60.0


class WalFullError(OSError):
    """The write-ahead log may not grow further."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.ENOSPC, reason)
        self._reason = reason

    def __str__(self) -> str:
        """Return the reason, for publishers and operators."""
        return self._reason


class Checkpoints:
    """Moves the write-ahead log to the database, and bounds it."""

    def __init__(self, file: SqliteFile, faults: Faults | None = None) -> None:
        self._file = file
        self._faults = faults or Faults()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        # Set to begin a checkpoint before the next poll.
        self._due = threading.Event()
        # True while the writer is to do the last of a checkpoint.
        self._asked = False
        self._limit, self._bound = 0, 0
        self._changes = 0
        self._commits = 0
        self._unmoved_since: float | None = None
        self._failure: str | None = None
        self._failing_since = 0.0
        # Since when a reader needs what is in the write-ahead log.
        self._held_since: float | None = None
        self._recorded: str | None = None
        self._recorded_at = 0.0

    def start(self, connection: sqlite3.Connection) -> None:
        """Start the thread, which closes its connection in the end."""
        self._limit, self._bound = self._file.wal_limits()
        # A life that was killed leaves a write-ahead log.
        self._unmoved_since = time.monotonic()
        self._thread = threading.Thread(
            target=self._run, args=[connection], name="riptide-log-checkpoints", daemon=True
        )
        self._thread.start()

    def stop(self, patience_s: float) -> bool:
        """End the thread; return False if that takes longer than ``patience_s``.

        SQLite moves what is left when the file is closed.
        """
        self._stopping.set()
        self._due.set()
        if self._thread is None:
            return True
        self._thread.join(max(0.0, patience_s))
        return not self._thread.is_alive()

    def between_commits(self, connection: sqlite3.Connection, *, gave_back: bool = False) -> None:
        """Note what the writer has committed, and do the last of a checkpoint if it is due.

        Only the writer calls this, with its connection.
        """
        changes = connection.total_changes
        if changes != self._changes or gave_back:
            self._changes = changes
            self._commits += 1
            if self._unmoved_since is None:
                self._unmoved_since = time.monotonic()
        wal = self._file.room.wal_bytes()
        if wal > self._limit:
            self._due.set()
        is_behind = not self.is_held_back() and wal > self._bound
        if self._asked or is_behind:
            self._asked = False
            try:
                # Publishers that are faster than the disk of the database wait for it here.
                self._note_success(
                    is_whole=self._file.checkpoint(connection, "RESTART", PATIENCE_MS)
                )
            except sqlite3.Error as error:
                self._note_failure(error)

    def is_held_back(self) -> bool:
        """Return whether the last checkpoint failed, or could not move everything."""
        since = self._held_since
        is_held = since is not None and time.monotonic() - since >= HELD_AFTER_S
        return is_held or self._failure is not None

    def require_bound(self) -> None:
        """Check that the write-ahead log may grow.

        Raises:
            WalFullError: it may not.

        """
        reason = self._beyond_bound()
        if reason is not None:
            raise WalFullError(reason)

    def is_beyond_bound(self) -> bool:
        """Return whether the write-ahead log may not grow."""
        return self._beyond_bound() is not None

    def failure(self) -> str | None:
        """Return why the service is not ready: messages are refused, or a failure lasts."""
        failure, now = self._failure, time.monotonic()
        if failure is not None and now - self._failing_since >= FAILURE_LASTS_S:
            return f"its write-ahead log cannot be moved to the database: {failure}"
        return self._beyond_bound()

    def age_s(self) -> float:
        """Return how long ago the last checkpoint that moved all began; 0 if all is moved since."""
        since = self._unmoved_since
        return 0.0 if since is None else time.monotonic() - since

    def _beyond_bound(self) -> str | None:
        if not self.is_held_back():
            return None
        wal = self._file.room.wal_bytes()
        if wal <= MOST_BYTES or (self._failure is None and wal <= self._file.size_bytes() - wal):
            return None
        return f"the write-ahead log has grown to {wal // MEGABYTE} MB: {self._reason()}"

    def _reason(self) -> str:
        if self._failure is not None:
            return f"it cannot be moved to the database ({self._failure})"
        return "a program that reads the log, such as a backup, has held it for long; end that one"

    def _run(self, connection: sqlite3.Connection) -> None:
        try:
            while not self._stopping.is_set():
                self._due.wait(POLL_INTERVAL_S)
                self._due.clear()
                self._look(connection)
        except BaseException as error:  # noqa: BLE001  # whatever it was, the process has to end
            self._faults.report(ServicePart.LOG_CHECKPOINTS, error)
        finally:
            connection.close()

    def _look(self, connection: sqlite3.Connection) -> None:
        """Do a checkpoint if one is due, and rest after it."""
        if self._file.files.displaced is not None:
            # Another write-ahead log may lie beside the database, which this one must not change.
            return
        is_large = self._file.room.wal_bytes() > self._limit
        if not is_large and self.age_s() < MOVE_AFTER_S:
            return
        began = time.monotonic()
        try:
            if self._unmoved_since is None:
                # Nothing is committed any more: the room of a busy time goes back to the disk.
                self._file.checkpoint(connection, "TRUNCATE")
            else:
                self._move(connection)
        except sqlite3.Error as error:
            self._note_failure(error)
        took = time.monotonic() - began
        self._stopping.wait(RETRY_AFTER_S if self.is_held_back() else max(REST_S, took))

    def _move(self, connection: sqlite3.Connection) -> None:
        for _ in range(PASSES):
            commits, began = self._commits, time.monotonic()
            is_whole = self._file.checkpoint(connection, "PASSIVE")
            if is_whole:
                # In this order, because the writer may commit at any time.
                self._unmoved_since = None
                if commits != self._commits:
                    self._unmoved_since = began
            if commits == self._commits:
                self._note_success(is_whole=is_whole)
                return
        # A reader of ours, which is quick, may have been in the way.
        self._asked = self._file.room.wal_bytes() > self._limit

    def _note_failure(self, error: sqlite3.Error) -> None:
        if self._failure is None:
            self._failing_since = time.monotonic()
        self._failure = str(error)
        self._record(
            logging.ERROR,
            f"the write-ahead log cannot be moved to the database ({error}): look at the disk of "
            "the log; messages are kept in the write-ahead log meanwhile",
        )

    def _note_success(self, *, is_whole: bool) -> None:
        if self._failure is not None:
            self._failure, self._recorded = None, None
            logger.info("the write-ahead log is moved to the database again")
        if is_whole:
            self._held_since = None
        elif self._held_since is None:
            self._held_since = time.monotonic()
        if self.is_held_back() and self._file.room.wal_bytes() > self._bound:
            self._record(logging.WARNING, f"the write-ahead log is large: {self._reason()}")

    def _record(self, level: int, text: str) -> None:
        """Write a log record, unless the same was written a short time ago."""
        now = time.monotonic()
        if text != self._recorded or now - self._recorded_at >= REPEAT_RECORD_S:
            self._recorded, self._recorded_at = text, now
            logger.log(level, "%s", text)
