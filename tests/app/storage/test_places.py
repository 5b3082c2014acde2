"""The index of messages: what is in memory of it, when it is written, and what a crash leaves."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from typing import TYPE_CHECKING

import pytest

from riptide.storage import places as places_module
from riptide.storage import step
from riptide.storage.damage import Damage
from riptide.storage.message_log import Retention
from riptide.storage.places import Place, Places
from riptide.storage.sqlite import SqliteLog
from riptide.storage.step import Step
from riptide.storage.unindexed_messages import load_places
from tests.app.storage.appending import append, end_of
from tests.app.storage.stored import store

if TYPE_CHECKING:
    from pathlib import Path

RETENTION = Retention(100_000, 3600)


@pytest.fixture
def connection(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Connect to a log of three topics with three messages each, of which none is indexed."""
    for topic_id in (1, 2, 3):
        connection.execute("INSERT INTO topics VALUES (?, ?, 0)", (topic_id, f"t{topic_id}"))
    for sequence in (1, 2, 3):
        for topic_id in (1, 2, 3):
            store(connection, topic_id, sequence)
    connection.execute("DELETE FROM places")
    connection.execute("UPDATE progress SET indexed = 0")
    return connection


def _indexed(connection: sqlite3.Connection) -> list[tuple[int, int, int]]:
    return connection.execute(
        "SELECT topic_id, sequence, position FROM places ORDER BY position"
    ).fetchall()


def _heads(connection: sqlite3.Connection) -> list[int]:
    return [head for (head,) in connection.execute("SELECT head FROM topics ORDER BY id")]


ALL = [(1 + n % 3, 1 + n // 3, 1 + n) for n in range(9)]


def test_what_is_not_in_the_index_is_found_from_the_messages(
    connection: sqlite3.Connection,
) -> None:
    places = Places()
    load_places(places, connection, Damage())
    assert places.of(2) == (Place(1, 2, 1), Place(2, 5, 1), Place(3, 8, 1))
    assert (places.head(2), places.head(4), places.next_position) == (3, 0, 10)


def test_what_is_written_is_in_the_file_and_not_in_memory(connection: sqlite3.Connection) -> None:
    places = Places()
    load_places(places, connection, Damage())
    places.write_some(connection)
    assert _indexed(connection) == ALL
    assert _heads(connection) == [3, 3, 3]
    assert not places
    assert places.next_position == 10
    again = Places()
    load_places(again, connection, Damage())
    assert not again
    assert again.next_position == 10


def test_positions_of_deleted_messages_are_not_given_again(connection: sqlite3.Connection) -> None:
    places = Places()
    load_places(places, connection, Damage())
    places.write_some(connection)
    connection.execute("DELETE FROM messages")
    again = Places()
    load_places(again, connection, Damage())
    assert again.next_position == 10


def test_a_topic_whose_index_is_damaged_harms_no_other_and_is_still_found(
    connection: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    connection.execute(
        "CREATE TRIGGER damage BEFORE INSERT ON places WHEN new.topic_id = 2 "
        "BEGIN SELECT RAISE(ABORT, 'a damaged page'); END"
    )
    places = Places()
    load_places(places, connection, Damage())
    places.write_some(connection)
    assert _indexed(connection) == [place for place in ALL if place[0] != 2]
    assert "number 2 in the log, is damaged" in caplog.text
    assert places.topics() == {2}
    connection.execute("DROP TRIGGER damage")
    # A restart finds the messages of all topics again, and nothing becomes two by that.
    again = Places()
    load_places(again, connection, Damage())
    again.write_some(connection)
    assert _indexed(connection) == ALL


def test_they_are_written_in_steps_and_a_crash_between_two_loses_none(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "STEP_S", 0)
    monkeypatch.setattr(places_module, "HELD", 9)
    places = Places()
    load_places(places, connection, Damage())
    for topics in (1, 2, 3):
        assert places.are_many()
        places.write_some(connection, Step(lambda: False))
        assert {topic_id for topic_id, _, _ in _indexed(connection)} == {*range(1, topics + 1)}
        again = Places()
        load_places(again, connection, Damage())
        assert again.topics() == ({1, 2, 3} if topics < 3 else set())
    assert not places.are_many()


async def test_a_log_that_was_not_closed_has_every_message_at_the_next_start(
    tmp_path: Path,
) -> None:
    log = SqliteLog(tmp_path / "log", RETENTION)
    await log.open()
    for number in range(30):
        await append(log, f"topic-{number % 3}", b"%d" % number)
    shutil.copytree(tmp_path / "log", tmp_path / "image")
    await log.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "image" / "riptide.db")) as image:
        assert _indexed(image) == []
    log = SqliteLog(tmp_path / "image", RETENTION)
    await log.open()
    for number in range(3):
        payloads = [message.payload for message in await log.read(f"topic-{number}", 0)]
        assert payloads == [b"%d" % n for n in range(number, 30, 3)]
        assert await log.bounds(f"topic-{number}") == (1, 10)
        assert await append(log, f"topic-{number}", b"new") == 11
    await log.close()


async def test_reads_go_from_the_index_into_what_is_not_in_it_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places_module, "HELD", 10)
    log = SqliteLog(tmp_path, RETENTION)
    await log.open()
    for number in range(1, 48):
        await append(log, "a", b"%d" % number)
        await append(log, "b", b"%d" % number)
    with contextlib.closing(sqlite3.connect(tmp_path / "riptide.db")) as other:
        assert 0 < len(_indexed(other)) < 2 * 47
    for after in range(48):
        sequences = [message.sequence for message in await log.read("a", after)]
        assert sequences == list(range(after + 1, 48))
    assert await log.bounds("b") == (1, 47)
    assert [topic.bounds for topic in await log.topics(await log.names("", 10))] == [
        (1, 47),
        (1, 47),
    ]
    assert await end_of(log, log.epoch, "a") == 47
    await log.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "riptide.db")) as closed:
        assert len(_indexed(closed)) == 2 * 47
