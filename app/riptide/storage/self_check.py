"""Checks each message of a log once after the start, so that damage is not left to readers to find.

A short log is checked before it is served. A long one is checked further while it is served, a
little at a time.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from typing import TYPE_CHECKING

from riptide.storage.verification import find_damage

if TYPE_CHECKING:
    from riptide.storage.places import Places
    from riptide.storage.sqlite_file import SqliteFile

logger = logging.getLogger("riptide.log")

# The start waits so long for the check at most: it takes some 100,000 messages.
WAIT_S = 1.0
# Beside a service that is running, the check works for so long, and then rests so much longer.
WORK_S = 0.002
REST = 19


class _StoppedError(Exception):
    """The log is being closed."""


class SelfCheck:
    """A thread that checks the log of a file, and ends when it has."""

    def __init__(self, file: SqliteFile, places: Places) -> None:
        self._file = file
        self._places = places
        self._stopping = threading.Event()
        self._is_served = False
        self._worked_since = 0.0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, and wait for the end if that comes soon.

        Raises:
            sqlite3.Error: the file cannot be opened.

        """
        connection = self._file.connect()
        self._thread = threading.Thread(
            target=self._run, args=[connection], name="riptide-log-check", daemon=True
        )
        self._thread.start()
        self._thread.join(WAIT_S)
        self._is_served = True

    def stop(self) -> None:
        """End the check, whether or not it is done; blocks until then, or for a moment."""
        self._stopping.set()
        if self._thread is not None:
            # A disk that hangs keeps the thread from ending.
            self._thread.join(WAIT_S)

    def _run(self, connection: sqlite3.Connection) -> None:
        self._worked_since = time.monotonic()
        try:
            with contextlib.closing(connection), contextlib.suppress(_StoppedError):
                for finding in find_damage(connection, self._places, self._pause, at_rest=False):
                    self._file.damage.note(f"the log is damaged: {finding.text}", finding.messages)
        except sqlite3.Error as error:
            # Reads and writes meet the same error, and say it as well.
            logger.error("the log could not be checked to its end: %s", error)  # noqa: TRY400  # SQLite's text is all there is to know
        except Exception:
            # The log is served all the same: each message is checked when it is read, too.
            logger.exception("the log could not be checked to its end")

    def _pause(self, _messages: int) -> None:
        if self._stopping.is_set():
            raise _StoppedError
        if not self._is_served:
            return
        worked = time.monotonic() - self._worked_since
        if worked < WORK_S:
            return
        if self._stopping.wait(min(1.0, REST * worked)):
            raise _StoppedError
        self._worked_since = time.monotonic()
