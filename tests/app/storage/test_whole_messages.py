"""Messages that are damaged are left out, and all others are read, whatever the damage."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from riptide.errors import DamagedMessagesError
from riptide.storage import whole_messages
from riptide.storage.message_log import Retention
from riptide.storage.places import Place
from riptide.storage.sqlite import SqliteLog
from riptide.storage.whole_messages import StoredTopic, read_whole
from tests.app.storage.appending import append
from tests.app.storage.damaging import break_page_with, flip_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

COUNT = 300


def _payload(topic: str, number: int) -> bytes:
    return b'"%s-%04d-%s"' % (topic.encode(), number, b"x" * 300)


@pytest.fixture
async def database(tmp_path: Path) -> Path:
    """The file of a log that has two topics of ``COUNT`` messages."""
    log = SqliteLog(tmp_path, Retention(100_000, 1e9))
    await log.open()
    for first in range(1, COUNT + 1, 50):
        for topic in ("a", "b"):
            await append(log, topic, *(_payload(topic, first + n) for n in range(50)))
    await log.close()
    return tmp_path / "riptide.db"


@contextlib.contextmanager
def _connected(database: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        yield connection


def _read(
    connection: sqlite3.Connection, topic: str, newest: Sequence[Place] = ()
) -> tuple[list[int], list[int]]:
    """Read a topic to its end; return which messages were delivered, and which were missed."""
    (topic_id,) = connection.execute("SELECT id FROM topics WHERE name = ?", (topic,)).fetchone()
    delivered: list[int] = []
    damaged: list[int] = []
    after = 0
    while True:
        try:
            messages = read_whole(StoredTopic(connection, topic_id, newest), topic, after)
        except DamagedMessagesError as error:
            damaged += list(range(error.first, error.last + 1))
            after = max(after + 1, error.last)
        else:
            if not messages:
                return delivered, damaged
            for message in messages:
                assert message.payload == _payload(topic, message.sequence)
            delivered += [message.sequence for message in messages]
            after = delivered[-1]


def test_a_message_with_a_flipped_bit_is_reported_and_its_neighbours_are_read(
    database: Path,
) -> None:
    for number in (1, 120, COUNT):
        flip_in(database, _payload("a", number))
    with _connected(database) as connection:
        delivered, damaged = _read(connection, "a")
        assert damaged == [1, 120, COUNT]
        assert delivered == sorted(set(range(1, COUNT + 1)) - set(damaged))
        assert _read(connection, "b") == (list(range(1, COUNT + 1)), [])


@pytest.mark.parametrize(
    "change",
    [
        "accepted_at = accepted_at + 1",
        "accepted_at = 'now'",
        "payload = CAST('{}' AS BLOB)",
        "payload = 5",
        "traceparent = 'x'",
        "traceparent = x'ff'",
        "checksum = checksum + 1",
        "checksum = 'x'",
    ],
)
def test_every_field_of_a_message_is_checked(database: Path, change: str) -> None:
    with _connected(database) as connection:
        connection.execute(
            f"UPDATE messages SET {change} "  # noqa: S608  # a change of our own
            "WHERE sequence = 7 AND topic_id = (SELECT id FROM topics WHERE name = 'a')"
        )
        assert _read(connection, "a")[1] == [7]


@pytest.mark.parametrize(
    "change",
    [
        "position = position + 1",
        "position = 1000000",
        "position = 'x'",
        # The key is out of order, as it is after a flipped bit.
        "sequence = -7",
        "topic_id = 99",
    ],
)
def test_a_place_that_leads_elsewhere_or_is_lost_delivers_no_other_message(
    database: Path, change: str
) -> None:
    with _connected(database) as connection:
        connection.execute(
            f"UPDATE places SET {change} WHERE sequence = 7 AND topic_id = 1"  # noqa: S608  # a change of our own
        )
        delivered, damaged = _read(connection, "a")
        assert damaged == [7]
        assert len(delivered) == COUNT - 1


def test_a_page_of_the_index_that_cannot_be_read_is_a_hole_of_its_topic_only(
    database: Path,
) -> None:
    with _connected(database) as connection:
        pages = connection.execute(
            "SELECT pageno FROM dbstat WHERE name = 'places' AND pagetype = 'leaf' ORDER BY path"
        ).fetchall()
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    with database.open("r+b") as damaged_file:
        damaged_file.seek((pages[0][0] - 1) * page_bytes)
        damaged_file.write(b"\xff" * 8)
    with _connected(database) as connection:
        delivered, damaged = _read(connection, "a")
        assert damaged
        assert sorted(delivered + damaged) == list(range(1, COUNT + 1))
        both = _read(connection, "b")
        assert sorted(both[0] + both[1]) == list(range(1, COUNT + 1))


def test_messages_that_are_not_in_the_index_yet_are_checked_as_well(database: Path) -> None:
    with _connected(database) as connection:
        newest = [
            Place(*row)
            for row in connection.execute(
                "SELECT sequence, position, size FROM places WHERE topic_id = 1 AND sequence > 290 "
                "ORDER BY sequence"
            )
        ]
        connection.execute("DELETE FROM places WHERE topic_id = 1 AND sequence > 290")
        connection.execute("UPDATE topics SET head = 290 WHERE id = 1")
        connection.execute("UPDATE messages SET checksum = 0 WHERE sequence IN (293, 300)")
        connection.execute("DELETE FROM messages WHERE topic_id = 1 AND sequence = 295")
        delivered, damaged = _read(connection, "a", newest=newest)
        assert damaged == [293, 295, 300]
        assert len(delivered) == COUNT - 3


def test_messages_that_expired_after_their_places_were_looked_up_are_not_damaged(
    database: Path,
) -> None:
    newest = [Place(COUNT + 1, 2 * COUNT + 1, 1), Place(COUNT + 2, 2 * COUNT + 2, 1)]
    with _connected(database) as connection:
        # The trim has written the places to the index, and deleted them there with the messages.
        connection.execute("UPDATE topics SET head = 302 WHERE id = 1")
        connection.execute("DELETE FROM messages WHERE topic_id = 1")
        connection.execute("DELETE FROM places WHERE topic_id = 1")
        assert read_whole(StoredTopic(connection, 1, newest), "a", 10) == []


def test_a_page_that_cannot_be_read_is_a_hole_and_the_log_behind_it_is_read(
    database: Path,
) -> None:
    break_page_with(database, _payload("a", 120))
    with _connected(database) as connection:
        delivered, damaged = _read(connection, "a")
        assert sorted(delivered + damaged) == list(range(1, COUNT + 1))
        assert 120 in damaged
        # A page has room for some dozens of these messages.
        assert len(damaged) < 60
        both = _read(connection, "b")
        assert sorted(both[0] + both[1]) == list(range(1, COUNT + 1))


def test_a_long_hole_is_passed_in_steps_that_double(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_messages, "ONE_BY_ONE", 3)
    with _connected(database) as connection:
        connection.execute("UPDATE messages SET checksum = 0 WHERE sequence BETWEEN 5 AND 290")
        delivered, damaged = _read(connection, "a")
    assert damaged[0] == 5
    assert sorted(delivered + damaged) == list(range(1, COUNT + 1))
    assert set(damaged) >= set(range(5, 291))


def test_messages_that_have_expired_are_told_from_those_that_are_damaged(database: Path) -> None:
    with _connected(database) as connection:
        topic = StoredTopic(connection, 1)
        _expire(connection, 40)
        connection.execute("UPDATE messages SET checksum = 0 WHERE sequence BETWEEN 41 AND 43")
        with pytest.raises(DamagedMessagesError) as damage:
            read_whole(topic, "a", 10)
        assert (damage.value.first, damage.value.last) == (41, 43)
        assert read_whole(topic, "a", 43)[0].sequence == 44
        _expire(connection, 43)
        assert read_whole(topic, "a", 10)[0].sequence == 44
        _expire(connection, COUNT)
        assert read_whole(topic, "a", 10) == []


def _expire(connection: sqlite3.Connection, last: int) -> None:
    for table in ("messages", "places"):
        connection.execute(f"DELETE FROM {table} WHERE sequence <= ?", (last,))  # noqa: S608  # two names


def test_the_end_of_a_topic_that_is_lost_is_damaged(database: Path) -> None:
    with _connected(database) as connection:
        connection.execute("DELETE FROM messages WHERE sequence > 290")
        assert _read(connection, "a")[1] == list(range(291, COUNT + 1))
        connection.execute("DELETE FROM places WHERE sequence > 285")
        assert _read(connection, "a")[1] == list(range(286, COUNT + 1))


def test_errors_that_are_no_damage_are_not_taken_for_it(database: Path) -> None:
    with _connected(database) as connection:
        connection.execute("ALTER TABLE messages RENAME TO gone")
        with pytest.raises(sqlite3.OperationalError):
            read_whole(StoredTopic(connection, 1), "a", 0)
