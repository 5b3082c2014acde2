"""What deletions have left free in a log's database, and what of it goes back to the disk."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from riptide.storage import free_space, step
from riptide.storage.free_space import FreeSpace
from riptide.storage.schema import PAGE_BYTES, create_tables
from riptide.storage.step import Step
from tests.app.storage.stored import store

if TYPE_CHECKING:
    from pathlib import Path

    from riptide.storage.sqlite_file import SqliteFile

# A message takes as many pages, and another one for its row.
MESSAGE_PAGES = 16
PAYLOAD = b"x" * (MESSAGE_PAGES * (PAGE_BYTES - 4))
MESSAGES, LEFT = 40, 4
MOST_BYTES = 1024 * PAGE_BYTES


@pytest.fixture(autouse=True)
def _keep_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_space, "KEPT_BYTES", 20 * PAGE_BYTES)
    monkeypatch.setattr(step, "STEP_S", 60)


def _fill(connection: sqlite3.Connection) -> None:
    for sequence in range(1, MESSAGES + 1):
        store(connection, 1, sequence, payload=PAYLOAD)


def _expire(connection: sqlite3.Connection) -> None:
    """Delete all but the newest messages, which lie at the end of the file."""
    connection.execute("DELETE FROM messages WHERE sequence <= ?", (MESSAGES - LEFT,))


def _step() -> Step:
    return Step(lambda: False)


def _pages(connection: sqlite3.Connection, which: str) -> int:
    return int(connection.execute(f"PRAGMA {which}_count").fetchone()[0])


def test_the_file_becomes_shorter_and_the_messages_at_its_end_are_kept(
    file: SqliteFile, connection: sqlite3.Connection
) -> None:
    _fill(connection)
    _expire(connection)
    space = FreeSpace()
    assert space.give_back(connection, _step(), MOST_BYTES)
    assert not space.give_back(connection, _step(), MOST_BYTES)
    file.checkpoint(connection, "TRUNCATE")
    assert file.path.stat().st_size < 2 * LEFT * len(PAYLOAD)
    rows = connection.execute("SELECT sequence, payload FROM messages ORDER BY position").fetchall()
    assert rows == [(n, PAYLOAD) for n in range(MESSAGES - LEFT + 1, MESSAGES + 1)]
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_some_free_pages_stay_for_the_next_messages(connection: sqlite3.Connection) -> None:
    _fill(connection)
    _expire(connection)
    space = FreeSpace()
    while space.give_back(connection, _step(), MOST_BYTES):
        pass
    kept = _pages(connection, "freelist")
    assert kept == free_space.KEPT_BYTES // PAGE_BYTES
    assert space.free_bytes == kept * PAGE_BYTES
    before = _pages(connection, "page")
    store(connection, 1, MESSAGES + 1, payload=PAYLOAD)
    assert _pages(connection, "page") == before


def test_a_step_that_is_over_leaves_the_rest_to_the_next(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(connection)
    _expire(connection)
    monkeypatch.setattr(step, "STEP_S", 0)
    space = FreeSpace()
    before = _pages(connection, "freelist")
    for given_back in (1, 2, 3):
        assert space.give_back(connection, _step(), MOST_BYTES)
        assert _pages(connection, "freelist") == before - given_back


def test_no_more_pages_are_given_back_at_once_than_the_write_ahead_log_has_room_for(
    connection: sqlite3.Connection,
) -> None:
    _fill(connection)
    _expire(connection)
    before = _pages(connection, "freelist")
    assert FreeSpace().give_back(connection, _step(), 3 * PAGE_BYTES)
    assert _pages(connection, "freelist") == before - 3


def test_where_nothing_was_deleted_nothing_is_given_back(connection: sqlite3.Connection) -> None:
    space = FreeSpace()
    assert not space.give_back(connection, _step(), MOST_BYTES)
    _fill(connection)
    assert not space.give_back(connection, _step(), MOST_BYTES)
    assert space.free_bytes == 0


def test_a_file_that_was_not_laid_out_for_it_keeps_its_size_and_says_what_is_free(
    tmp_path: Path,
) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "log", isolation_level=None)) as connection:
        create_tables(connection)
        _fill(connection)
        _expire(connection)
        before = _pages(connection, "page")
        space = FreeSpace()
        assert not space.give_back(connection, _step(), MOST_BYTES)
        assert _pages(connection, "page") == before
        assert space.free_bytes >= (MESSAGES - LEFT) * len(PAYLOAD)
