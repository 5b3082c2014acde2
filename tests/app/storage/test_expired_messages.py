from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from riptide.storage.damage import Damage
from riptide.storage.expired_messages import delete_before, find_live_topics, first_to_keep
from riptide.storage.live_topics import Earliest, LiveTopic
from riptide.storage.places import Place, Places
from riptide.storage.sqlite_file import SqliteFile
from riptide.storage.unindexed_messages import load_places
from tests.app.storage.stored import store

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    file = SqliteFile(tmp_path)
    file.open()
    connection = file.connect()
    # Of topic 2 only the head is remembered. Message 4 came while the clock was set back.
    connection.executescript(
        """
        INSERT INTO topics VALUES (1, 'a', 5), (2, 'b', 7), (3, 'c', 2);
        INSERT INTO beginnings VALUES (1, 1, 1), (1, 3, 2), (1, 5, 3);
        """
    )
    for place in ((1, 2, 20), (1, 3, 30), (1, 4, 10), (3, 2, 90), (1, 5, 50)):
        store(connection, *place)
    yield connection
    connection.close()
    file.close()


def test_topics_with_messages_are_found_with_their_oldest_and_newest_message(
    connection: sqlite3.Connection,
) -> None:
    assert list(find_live_topics(connection, Places())) == [
        LiveTopic(1, "a", Earliest(2, 20), 5),
        LiveTopic(3, "c", Earliest(2, 90), 2),
    ]


def test_messages_that_are_not_in_the_index_yet_count_as_well(
    connection: sqlite3.Connection,
) -> None:
    store(connection, 2, 8, 70)
    connection.execute("DELETE FROM places WHERE topic_id = 2")
    connection.execute("UPDATE progress SET indexed = 5")
    places = Places()
    load_places(places, connection, Damage())
    places.add(1, [Place(6, 7, 1)])
    assert sorted(find_live_topics(connection, places)) == [
        LiveTopic(1, "a", Earliest(2, 20), 6),
        LiveTopic(2, "b", Earliest(8, 70), 8),
        LiveTopic(3, "c", Earliest(2, 90), 2),
    ]


@pytest.mark.parametrize(
    ("first_by_count", "oldest", "kept"),
    [(1, 0, 2), (1, 21, 3), (4, 0, 4), (4, 21, 5), (1, 31, 5), (1, 51, 6), (6, 0, 6)],
)
def test_messages_are_kept_from_the_first_that_is_neither_too_old_nor_too_many(
    connection: sqlite3.Connection, first_by_count: int, oldest: int, kept: int
) -> None:
    topic = next(find_live_topics(connection, Places()))
    assert first_to_keep(connection, topic, first_by_count, oldest) == kept


@pytest.mark.parametrize(
    ("keep_from", "left", "beginnings"),
    [(4, Earliest(4, 10), [3, 5]), (5, Earliest(5, 50), [5]), (6, None, [5])],
)
def test_a_deletion_leaves_the_lives_of_the_messages_that_are_left(
    connection: sqlite3.Connection, keep_from: int, left: Earliest | None, beginnings: list[int]
) -> None:
    assert delete_before(connection, 1, keep_from) == left
    found = connection.execute("SELECT first FROM beginnings ORDER BY first").fetchall()
    assert [first for (first,) in found] == beginnings
