"""Gives back to the disk what deletions have left free in the database."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3

# The next messages take free pages, so some stay: as much as this, or this part of what is used.
KEPT_BYTES: Final = 8 * 1024 * 1024
KEPT_SHARE: Final = 4
# How long one step may hold appends; the number of its pages follows from that.
STEP_S: Final = 0.01
FEWEST_PAGES, MOST_PAGES = 16, 2048
# PRAGMA auto_vacuum of a database whose pages can be moved to the places of free ones.
_INCREMENTAL: Final = 2


class FreeSpace:
    """The free pages of a database. Only the thread that writes to the database uses it."""

    def __init__(self) -> None:
        self._step_pages = FEWEST_PAGES
        # As of the last step.
        self.free_bytes = 0
        self._changes: int | None = None

    def give_back(self, connection: sqlite3.Connection) -> bool:
        """Give some free pages back; return whether any were.

        The file becomes shorter when the next checkpoint is complete.

        Raises:
            sqlite3.Error: none were.

        """
        if connection.total_changes == self._changes:
            return False
        free, pages, page_bytes, mode = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("freelist_count", "page_count", "page_size", "auto_vacuum")
        )
        self.free_bytes = free * page_bytes
        surplus = free - max(KEPT_BYTES // page_bytes, (pages - free) // KEPT_SHARE)
        # A log of an older version keeps its pages: none of them says which page points to it.
        if surplus <= 0 or mode != _INCREMENTAL:
            self._changes = connection.total_changes
            return False
        began = time.monotonic()
        step = min(surplus, self._step_pages)
        # SQLite gives back a page for each row of the result, and ``execute`` would stop at the
        # first, because the rows have no columns.
        connection.executescript(f"PRAGMA incremental_vacuum({step})")
        self._adapt(time.monotonic() - began)
        return True

    def _adapt(self, took_s: float) -> None:
        if took_s > STEP_S:
            self._step_pages = max(FEWEST_PAGES, self._step_pages // 2)
        elif took_s < STEP_S / 2:
            self._step_pages = min(MOST_PAGES, self._step_pages * 2)
