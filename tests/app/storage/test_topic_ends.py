from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from riptide.storage.places import Place
from riptide.storage.topic_ends import find_bounds, find_head
from tests.app.storage.damaging import break_table
from tests.app.storage.stored import store

if TYPE_CHECKING:
    from riptide.storage.sqlite_file import SqliteFile


@pytest.fixture
def connection(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Connect to a log with messages 3 to 9 of one topic, and a topic that has none any more."""
    connection.execute("INSERT INTO topics VALUES (1, 'a', 9), (2, 'b', 4)")
    connection.execute("INSERT INTO beginnings VALUES (1, 2, 1), (2, 1, 1)")
    for sequence in range(3, 10):
        store(connection, 1, sequence)
    return connection


def test_a_topic_has_the_messages_of_the_index_and_of_what_is_not_in_it_yet(
    connection: sqlite3.Connection,
) -> None:
    assert find_bounds(connection, 1) == (3, 9)
    assert find_bounds(connection, 1, [Place(10, 99, 1), Place(11, 100, 1)]) == (3, 11)
    assert find_bounds(connection, 2) == (5, 4)
    assert find_bounds(connection, 2, [Place(5, 99, 1)]) == (5, 5)
    assert find_bounds(connection, 3) == (1, 0)


@pytest.mark.parametrize(
    ("damage", "head"),
    [
        ("UPDATE topics SET head = 1", 9),
        ("UPDATE topics SET head = 'x'", 9),
        ("DELETE FROM places WHERE sequence > 5", 9),
        ("DELETE FROM messages", 9),
        # A number that is not that of the message at its place.
        ("UPDATE places SET sequence = 5000 WHERE sequence = 8", 9),
    ],
)
def test_the_end_of_a_topic_is_known_by_what_is_whole(
    connection: sqlite3.Connection, damage: str, head: int
) -> None:
    connection.execute(damage)
    assert find_head(connection, 1) == head


def test_where_the_index_cannot_be_read_no_message_is_said_to_have_expired_wrongly(
    connection: sqlite3.Connection, file: SqliteFile
) -> None:
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    break_table(file.path, "places")
    with contextlib.closing(file.connect()) as fresh:
        assert find_bounds(fresh, 1) == (2, 9)


def test_errors_that_are_no_damage_are_not_taken_for_it(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE places RENAME TO gone")
    with pytest.raises(sqlite3.OperationalError):
        find_bounds(connection, 1)
