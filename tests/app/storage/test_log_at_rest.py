from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from riptide.errors import DataDirectoryError, LogCorruptError, MigrationError
from riptide.storage.log_at_rest import LogAtRest, LogSize, RestingTopic
from riptide.storage.message_log import Bounds, Retention
from riptide.storage.sqlite import SqliteLog
from tests.app.storage.damaging import flip_in
from tests.app.storage.jetstream.old_log import live

if TYPE_CHECKING:
    from pathlib import Path


async def test_topics_and_messages_have_the_ids_that_the_service_gave(tmp_path: Path) -> None:
    first = await live(tmp_path, {"a": [[b"1", b"22"]], "b": [[b"3"]]})
    second = await live(tmp_path, {"a": [[b"4444"]]})
    with LogAtRest(tmp_path) as log:
        of_a, of_b = log.topics()
        assert (of_a.name, of_a.bounds, of_b.name, of_b.bounds) == ("a", (1, 3), "b", (1, 1))
        assert of_a.lives == ((1, first["a"][0].epoch), (3, second["a"][0].epoch))
        assert of_a.epoch == second["a"][0].epoch
        found = [message for some in log.messages("a", 0) for message in some]
        assert [message.id for message in found] == first["a"] + second["a"]
        assert [message.payload for message in found] == [b"1", b"22", b"4444"]
        assert [m.sequence for some in log.messages("a", 2) for m in some] == [3]
        assert log.size() == LogSize(4, 8, 4)
        assert log.knows(first["a"][0].epoch)
        assert not log.knows("ffffffff")
        assert log.damaged_messages == 0


def test_the_epoch_of_a_number_is_that_of_its_life() -> None:
    topic = RestingTopic("a", Bounds(4, 9), ((3, "00000003"), (7, "00000007")))
    assert [topic.epoch_at(n) for n in (2, 3, 6, 7, 9)] == [
        None,
        "00000003",
        "00000003",
        "00000007",
        "00000007",
    ]


async def test_a_topic_without_messages_is_there_with_its_number(tmp_path: Path) -> None:
    old = await live(tmp_path, {"a": [[b"1", b"2"]]}, accepted_at=1, retention=Retention(9, 1e12))
    # In this life, they expire.
    log = SqliteLog(tmp_path, Retention(9, 0.05))
    await log.open()
    while not (await log.bounds("a")).is_empty():  # noqa: ASYNC110  # the log tells nobody
        await asyncio.sleep(0.02)
    await log.close()
    with LogAtRest(tmp_path) as rest:
        (topic,) = rest.topics()
        assert (topic.bounds, topic.epoch) == ((3, 2), old["a"][0].epoch)
        assert list(rest.messages("a", 0)) == []
        assert rest.size() == LogSize(0, 0, 0)


async def test_damaged_messages_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await live(tmp_path, {"a": [[b'"one"', b'"two"', b'"three"']]})
    flip_in(tmp_path / "riptide.db", b'"two"', 1)
    with LogAtRest(tmp_path) as log:
        assert [m.sequence for some in log.messages("a", 0) for m in some] == [1, 3]
        assert log.damaged_messages == 1
    assert "topic a, 2 to 2" in caplog.text


async def test_a_topic_whose_name_is_damaged_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await live(tmp_path, {"a": [[b"1"]], "b": [[b"2"]]})
    with contextlib.closing(sqlite3.connect(tmp_path / "riptide.db")) as connection, connection:
        connection.execute("UPDATE topics SET name = ' ' WHERE name = 'a'")
    with LogAtRest(tmp_path) as log:
        assert [topic.name for topic in log.topics()] == ["b"]
    assert "the name of a topic is damaged" in caplog.text


def test_a_directory_without_a_log_is_left_as_it_is(tmp_path: Path) -> None:
    directory = tmp_path / "none"
    with pytest.raises(MigrationError, match="there is no log"), LogAtRest(directory):
        pass
    assert not directory.exists()


async def test_a_log_that_is_served_is_in_use_and_then_free(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path, Retention(9, 60))
    await log.open()
    with pytest.raises(DataDirectoryError, match="in use"), LogAtRest(tmp_path):
        pass
    await log.close()
    with LogAtRest(tmp_path):
        other = SqliteLog(tmp_path, Retention(9, 60))
        with pytest.raises(DataDirectoryError, match="in use"):
            await other.open()
    again = SqliteLog(tmp_path, Retention(9, 60))
    await again.open()
    await again.close()


def test_what_is_no_log_is_said(tmp_path: Path) -> None:
    (tmp_path / "riptide.db").write_bytes(b"no log" * 1000)
    with pytest.raises(LogCorruptError, match="riptide verify"), LogAtRest(tmp_path):
        pass
