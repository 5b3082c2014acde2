"""Gives back to the disk what deletions have left free in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from riptide.storage.transaction import unsynced

if TYPE_CHECKING:
    import sqlite3

    from riptide.storage.step import Step

# The next messages take free pages, so some stay: as much as this, or this part of what is used.
KEPT_BYTES: Final = 8 * 1024 * 1024
KEPT_SHARE: Final = 4
# PRAGMA auto_vacuum of a database whose pages can be moved to the places of free ones.
_INCREMENTAL: Final = 2


class FreeSpace:
    """The free pages of a database. Only the thread that writes to the database uses it."""

    def __init__(self) -> None:
        # As of the last step.
        self.free_bytes = 0
        self._changes: int | None = None

    def give_back(self, connection: sqlite3.Connection, step: Step, most_bytes: int) -> bool:
        """Give free pages back until the step is over; return whether any were.

        ``most_bytes`` is the most that this may add to the write-ahead log.

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
        # A file that was not laid out for it keeps its pages: none says which page points to it.
        if surplus <= 0 or mode != _INCREMENTAL:
            self._changes = connection.total_changes
            return False
        with unsynced(connection):
            for _ in range(min(surplus, most_bytes // page_bytes)):
                connection.execute("PRAGMA incremental_vacuum(1)")
                if step.is_over():
                    break
        return True
