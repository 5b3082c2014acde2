"""After a crash, the newest messages are found, and damaged ones among them harm no other."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from riptide.storage.damage import Damage
from riptide.storage.unindexed_messages import find_unindexed, next_readable
from tests.app.storage.damaging import break_table
from tests.app.storage.stored import store

if TYPE_CHECKING:
    import sqlite3

    from riptide.storage.sqlite_file import SqliteFile

COUNT = 60


@pytest.fixture
def connection(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Connect to a log of messages of two topics in turns, of which only the first is indexed."""
    connection.execute("INSERT INTO topics VALUES (1, 'a', 1), (2, 'b', 0)")
    for number in range(COUNT):
        store(connection, 1 + number % 2, 1 + number // 2, payload=b"x" * 300)
    connection.execute("DELETE FROM places WHERE position > 1")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return connection


def _found(connection: sqlite3.Connection, damage: Damage) -> list[tuple[int, int, int]]:
    return [
        (topic_id, sequence, position)
        for topic_id, sequence, position, _ in find_unindexed(connection, 1, damage)
    ]


ALL = [(1 + number % 2, 1 + number // 2, 1 + number) for number in range(1, COUNT)]


def test_messages_behind_the_index_are_found_with_their_topics(
    connection: sqlite3.Connection,
) -> None:
    damage = Damage()
    assert _found(connection, damage) == ALL
    assert damage.unreadable_messages == 0


@pytest.mark.parametrize("change", ["sequence = 5000", "topic_id = 7, sequence = 9"])
def test_a_message_that_does_not_follow_the_others_counts_only_if_it_is_whole(
    connection: sqlite3.Connection, change: str
) -> None:
    connection.execute(f"UPDATE messages SET {change} WHERE position = 31")  # noqa: S608  # a change of our own
    damage = Damage()
    # Those of its topic that follow do not follow the last one either, and are whole.
    assert _found(connection, damage) == [place for place in ALL if place[2] != 31]
    assert damage.unreadable_messages == 1


@pytest.mark.usefixtures("connection")
def test_a_page_that_cannot_be_read_is_passed_over_and_said(
    file: SqliteFile, caplog: pytest.LogCaptureFixture
) -> None:
    break_table(file.path, "messages", 2)
    damage = Damage()
    with contextlib.closing(file.connect()) as fresh:
        found = _found(fresh, damage)
        missing = [place[2] for place in ALL if place not in found]
        assert missing == list(range(missing[0], missing[-1] + 1))
        assert next_readable(fresh, missing[0]).position == missing[-1] + 1
    assert 0 < len(missing) < 20
    assert damage.unreadable_messages == len(missing)
    assert f"at positions {missing[0]} to {missing[-1]}" in caplog.text
