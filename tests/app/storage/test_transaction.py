"""Transactions of the writer; those on a disk that fails are in integration/log_faults."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from riptide.storage.transaction import synced, unsynced

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from contextlib import AbstractContextManager


def _topics(connection: sqlite3.Connection) -> list[tuple[str]]:
    return connection.execute("SELECT name FROM topics").fetchall()


def _synchronous(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA synchronous").fetchone()[0])


@pytest.mark.parametrize(("transaction", "level"), [(synced, 2), (unsynced, 1)])
def test_a_transaction_is_made_whole_or_undone_and_leaves_the_next_one_synced(
    connection: sqlite3.Connection,
    transaction: Callable[[sqlite3.Connection], AbstractContextManager[None]],
    level: int,
) -> None:
    with transaction(connection):
        connection.execute("INSERT INTO topics VALUES (1, 'a', 0)")
        # FULL is 2, NORMAL is 1 (SQLite's documentation of PRAGMA synchronous).
        assert _synchronous(connection) == level
    with contextlib.suppress(LookupError), transaction(connection):
        connection.execute("INSERT INTO topics VALUES (2, 'b', 0)")
        raise LookupError
    assert not connection.in_transaction
    assert _topics(connection) == [("a",)]
    assert _synchronous(connection) == 2
