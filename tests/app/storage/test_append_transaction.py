from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from riptide.storage.append_transaction import AppendTransaction
from riptide.storage.checksum import checksum
from riptide.storage.live_topics import LiveTopics
from riptide.storage.message_log import Retention
from riptide.storage.places import Place, Places
from tests.app.messages import published
from tests.app.storage.damaging import break_table

if TYPE_CHECKING:
    import sqlite3

    from riptide.storage.sqlite_file import SqliteFile


def _transaction(file: SqliteFile, places: Places, topics: int = 10) -> AppendTransaction:
    retention = Retention(1000, 3600, topics)
    return AppendTransaction(file, retention, LiveTopics(retention), places)


def test_messages_of_all_topics_lie_in_the_order_in_which_they_came(
    file: SqliteFile, connection: sqlite3.Connection
) -> None:
    places = Places()
    transaction = _transaction(file, places)
    publications = [published("a", [b"1", b"2"]), published("b", [b"33"]), published("a", [b"4"])]
    assert transaction.write(connection, publications) == [1, 1, 3]
    rows = connection.execute("SELECT position, topic_id, sequence, payload FROM messages")
    assert rows.fetchall() == [
        (1, 1, 1, b"1"),
        (2, 1, 2, b"2"),
        (3, 2, 1, b"33"),
        (4, 1, 3, b"4"),
    ]
    # Their index is in memory until there are many.
    assert places.of(1) == (Place(1, 1, 1), Place(2, 2, 1), Place(3, 4, 1))
    assert places.of(2) == (Place(1, 3, 2),)
    assert connection.execute("SELECT * FROM places").fetchall() == []


def test_each_message_has_a_checksum_of_all_that_is_kept_of_it(
    file: SqliteFile, connection: sqlite3.Connection
) -> None:
    _transaction(file, Places()).write(connection, [published("a", [b"1", b"2"])])
    rows = connection.execute(
        "SELECT topic_id, sequence, accepted_at, payload, traceparent, checksum FROM messages"
    ).fetchall()
    assert [checksum(*row[:-1]) for row in rows] == [row[-1] for row in rows]


def test_what_one_topic_too_many_gets_takes_no_number_and_no_position(
    file: SqliteFile, connection: sqlite3.Connection
) -> None:
    places = Places()
    transaction = _transaction(file, places, topics=1)
    publications = [published("a", [b"1"]), published("b", [b"2"]), published("a", [b"3"])]
    assert transaction.write(connection, publications) == [1, None, 2]
    assert places.next_position == 3


def test_a_topic_whose_newest_message_cannot_be_read_is_published_to_behind_it(
    file: SqliteFile, connection: sqlite3.Connection
) -> None:
    places = Places()
    transaction = _transaction(file, places)
    transaction.write(connection, [published("a", [b"x" * 3000])])
    transaction.write(connection, [published("b", [b"y" * 3000 for _ in range(3)])])
    places.write_some(connection)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    break_table(file.path, "messages", 0)
    with contextlib.closing(file.connect()) as fresh:
        fresh_places = Places()
        fresh_places.next_position = 5
        transaction = _transaction(file, fresh_places)
        assert transaction.write(fresh, [published("a", [b"2"]), published("b", [b"4"])]) == [2, 4]
