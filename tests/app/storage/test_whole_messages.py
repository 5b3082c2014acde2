"""Messages that are damaged are left out, and all others are read, whatever the damage."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from riptide.errors import DamagedMessagesError
from riptide.storage import whole_messages
from riptide.storage.message_log import Retention
from riptide.storage.sqlite import SqliteLog
from riptide.storage.whole_messages import checked, find_earliest, read_whole
from tests.app.storage.appending import append
from tests.app.storage.damaging import break_page_with, flip_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNT = 300
# The log's limits of a read; None stands for messages that were reported as damaged.
Reading = list["int | None"]


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
    connection: sqlite3.Connection, topic: str, after: int = 0, head: int = COUNT
) -> tuple[list[int], list[int]]:
    """Read a topic to its end; return which messages were delivered, and which were missed."""
    (topic_id,) = connection.execute("SELECT id FROM topics WHERE name = ?", (topic,)).fetchone()
    delivered, damaged = [], []
    while after < head:
        try:
            messages = read_whole(connection, topic, topic_id, after, head)
        except DamagedMessagesError as error:
            damaged += list(range(error.first, error.last + 1))
            after = max(after + 1, error.last)
        else:
            assert messages
            for message in messages:
                assert message.payload == _payload(topic, message.sequence)
            delivered += [message.sequence for message in messages]
            after = delivered[-1]
    return delivered, damaged


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


def test_a_message_that_has_come_to_another_place_is_damaged(database: Path) -> None:
    with _connected(database) as connection:
        connection.execute(
            "UPDATE messages SET sequence = 1000 WHERE sequence = 7 AND topic_id = 1"
        )
        assert _read(connection, "a", head=1000)[1] == [7, *range(COUNT + 1, 1001)]


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
        connection.execute("DELETE FROM messages WHERE sequence <= 40")
        connection.execute("UPDATE messages SET checksum = 0 WHERE sequence BETWEEN 41 AND 43")
        with pytest.raises(DamagedMessagesError) as damage:
            read_whole(connection, "a", 1, 10, COUNT)
        assert (damage.value.first, damage.value.last) == (41, 43)
        assert read_whole(connection, "a", 1, 43, COUNT)[0].sequence == 44
        connection.execute("DELETE FROM messages WHERE sequence <= 43")
        assert read_whole(connection, "a", 1, 10, COUNT)[0].sequence == 44
        connection.execute("DELETE FROM messages")
        assert read_whole(connection, "a", 1, 10, COUNT) == []


def test_messages_that_have_vanished_from_the_end_are_damaged(database: Path) -> None:
    with _connected(database) as connection:
        connection.execute("DELETE FROM messages WHERE sequence > 290")
        assert _read(connection, "a")[1] == list(range(291, COUNT + 1))


def test_the_oldest_message_is_known_though_its_page_cannot_be_read(database: Path) -> None:
    break_page_with(database, _payload("a", 1))
    with _connected(database) as connection:
        (topic_id,) = connection.execute("SELECT id FROM topics WHERE name = 'a'").fetchone()
        assert find_earliest(connection, topic_id, COUNT) == 1


@pytest.mark.parametrize(
    ("payload", "traceparent", "is_whole"),
    [
        (b'{"a": 1}', None, True),
        (b'{"a": 1', None, False),
        (b'{"a":\n1}', None, False),
        (b"1", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", True),
        (b"1", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0\x11", False),
        (b"1", b"\xff", False),
    ],
)
def test_a_message_of_an_older_version_has_to_have_the_form_of_one(
    payload: bytes, traceparent: bytes | None, *, is_whole: bool
) -> None:
    assert (checked(1, (1, 5, payload, traceparent, None)) is not None) == is_whole


def test_errors_that_are_no_damage_are_not_taken_for_it(database: Path) -> None:
    with _connected(database) as connection:
        connection.execute("ALTER TABLE messages RENAME TO gone")
        with pytest.raises(sqlite3.OperationalError):
            read_whole(connection, "a", 1, 0, COUNT)
        with pytest.raises(sqlite3.OperationalError):
            find_earliest(connection, 1, COUNT)
