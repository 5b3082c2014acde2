"""Retention in steps: what one deletes, when it ends, and whom a damaged topic harms."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from riptide.storage import step
from riptide.storage.expired_messages import find_live_topics
from riptide.storage.live_topics import LiveTopics
from riptide.storage.message_log import Retention
from riptide.storage.places import Places
from riptide.storage.trim import Trim
from tests.app.storage.damaging import break_table
from tests.app.storage.stored import store

if TYPE_CHECKING:
    import sqlite3

    from riptide.storage.sqlite_file import SqliteFile

TOPICS, EACH = 200, 5


@pytest.fixture
def connection(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Connect to a log of topics all of whose messages have expired."""
    connection.execute("BEGIN")
    for number in range(1, TOPICS + 1):
        connection.execute("INSERT INTO topics VALUES (?, ?, ?)", (number, f"t{number}", EACH))
        for sequence in range(1, EACH + 1):
            store(connection, number, sequence)
    connection.execute("COMMIT")
    return connection


@pytest.fixture
def trimming(file: SqliteFile, connection: sqlite3.Connection) -> Trim:
    retention = Retention(1000, 60)
    live = LiveTopics(retention, find_live_topics(connection, Places()))
    return Trim(file, retention, live, Places())


def _left(connection: sqlite3.Connection) -> set[int]:
    return {n for (n,) in connection.execute("SELECT DISTINCT topic_id FROM messages")}


def _calm() -> bool:
    return False


def _hurry() -> bool:
    return True


def test_the_deletions_of_many_topics_share_a_transaction_that_waits_for_no_disk(
    trimming: Trim, connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "STEP_S", 3600)
    said: list[str] = []
    connection.set_trace_callback(said.append)
    assert trimming.step(connection, _calm)
    assert not trimming.step(connection, _calm)
    connection.set_trace_callback(None)
    assert _left(connection) == set()
    assert [s for s in said if s in {"BEGIN IMMEDIATE", "COMMIT"}] == ["BEGIN IMMEDIATE", "COMMIT"]
    pragmas = [s for s in said if "synchronous" in s]
    assert pragmas == ["PRAGMA synchronous = NORMAL", "PRAGMA synchronous = FULL"]


def test_a_step_ends_after_its_time(
    trimming: Trim, connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "STEP_S", 0)
    for steps in range(1, 4):
        assert trimming.step(connection, _calm)
        assert len(_left(connection)) == TOPICS - steps


def test_a_step_ends_soon_once_an_append_waits_and_not_before_it_has_done_something(
    trimming: Trim, connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "STEP_S", 3600)
    monkeypatch.setattr(step, "HURRIED_STEP_S", 0)
    for steps in range(1, 4):
        assert trimming.step(connection, _hurry)
        assert len(_left(connection)) == TOPICS - steps


def test_a_topic_that_cannot_be_trimmed_harms_no_other_and_is_tried_again_each_round(
    trimming: Trim, connection: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    connection.execute(
        "CREATE TRIGGER damage BEFORE DELETE ON messages WHEN old.topic_id IN (3, 7) "
        "BEGIN SELECT RAISE(ABORT, 'a damaged page'); END"
    )
    for _ in range(2):
        trimming.begin_round()
        while trimming.step(connection, _calm):
            pass
        assert _left(connection) == {3, 7}
    # Each is said once, and not once a round.
    assert caplog.text.count("a damaged page") == 2
    connection.execute("DROP TRIGGER damage")
    trimming.begin_round()
    while trimming.step(connection, _calm):
        pass
    assert _left(connection) == set()


@pytest.mark.parametrize("leaf", [0, 3, 7])
def test_messages_that_cannot_be_read_expire_with_those_around_them_and_pin_no_topic(
    file: SqliteFile, connection: sqlite3.Connection, leaf: int
) -> None:
    """Each topic is trimmed, whichever page of the messages cannot be read."""
    connection.execute("DELETE FROM messages")
    connection.execute("DELETE FROM places")
    for sequence in range(1, 41):
        for topic_id in (1, 2, 3):
            store(connection, topic_id, sequence, 10**18 + sequence, b"x" * 500)
    connection.execute("UPDATE topics SET head = 40 WHERE id <= 3")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    break_table(file.path, "messages", leaf)
    with contextlib.closing(file.connect()) as fresh:
        # All by count; then, by a clock of their time, by age.
        for retention in (Retention(10, 1e10), Retention(1000, 60)):
            live = LiveTopics(retention, find_live_topics(fresh, Places()))
            trimming = Trim(file, retention, live, Places())
            while trimming.step(fresh, _calm):
                pass
            if retention.messages == 10:
                kept = fresh.execute("SELECT topic_id, count(*) FROM places GROUP BY topic_id")
                assert kept.fetchall() == [(1, 10), (2, 10), (3, 10)]
        assert fresh.execute("SELECT count(*) FROM places").fetchone() == (0,)
