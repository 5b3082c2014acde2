from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from riptide.errors import LogCorruptError, StartError
from riptide.storage import schema
from riptide.storage.message_log import Retention
from riptide.storage.schema import PAGE_BYTES, SCHEMA_VERSION, begin_life, find_fault
from riptide.storage.sqlite import SqliteLog
from riptide.storage.sqlite_file import SqliteFile
from tests.app.storage.appending import end_of
from tests.app.storage.old_logs import OLD_EPOCH, OLD_SCHEMAS, make_old
from tests.app.storage.stored import store

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def _looking_into(file: SqliteFile) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(file.connect()) as connection:
        yield connection


def _tables(file: SqliteFile) -> dict[str, list[tuple[object, ...]]]:
    with _looking_into(file) as connection:
        names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        return {
            name: connection.execute(f"SELECT * FROM pragma_table_info('{name}')").fetchall()  # noqa: S608  # names of our own
            for (name,) in names.fetchall()
        }


@pytest.mark.parametrize("version", OLD_SCHEMAS)
def test_an_older_log_is_brought_up_with_all_its_messages(tmp_path: Path, version: int) -> None:
    assert [*OLD_SCHEMAS] == [*schema.MIGRATIONS, schema.LAST_BY_TOPIC]
    file = make_old(tmp_path, version)
    for _ in range(2):
        assert file.open() != OLD_EPOCH
        with _looking_into(file) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
            kept = connection.execute("SELECT sequence, payload, traceparent FROM messages")
            assert kept.fetchall() == [(1, b"1", None), (2, b"2", None), (3, b"3", None)]
        file.close()
    fresh = SqliteFile(tmp_path / "fresh")
    fresh.open()
    assert _tables(file) == _tables(fresh)
    fresh.close()


@pytest.mark.parametrize("version", OLD_SCHEMAS)
async def test_the_ids_of_an_older_log_stay_those_of_its_messages(
    tmp_path: Path, version: int
) -> None:
    make_old(tmp_path, version)
    log = SqliteLog(tmp_path, Retention(1000, 3600))
    await log.open()
    assert [str(message.id) for message in await log.read("a", 0)] == [
        f"{OLD_EPOCH}-{n}" for n in (1, 2, 3)
    ]
    assert await end_of(log, OLD_EPOCH, "a") == 3
    await log.close()


def test_a_migration_that_fails_leaves_the_log_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make_old(tmp_path, 1)
    before = _tables(file)
    monkeypatch.setitem(schema.MIGRATIONS, 2, (*schema.MIGRATIONS[2], "no such statement"))
    with pytest.raises(StartError):
        file.open()
    assert _tables(file) == before
    monkeypatch.undo()
    file.open()
    assert OLD_EPOCH in file.lives
    file.close()


def test_a_life_is_remembered_while_it_has_messages_or_is_one_of_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "LIVES_KEPT", 3)
    file = SqliteFile(tmp_path)
    with_message = file.open()
    with _looking_into(file) as connection:
        connection.execute("INSERT INTO topics VALUES (1, 'a', 1)")
        connection.execute("INSERT INTO beginnings VALUES (1, 1, 1)")
        without = list(begin_life(connection))[-1]
        begin_life(connection)
        lives = begin_life(connection)
        assert list(lives) == [with_message, without, *list(lives)[2:]]
        lives = begin_life(connection)
    assert with_message in lives
    assert without not in lives
    assert len(lives) == 4
    assert list(lives.values()) == [1, 3, 4, 5]
    file.close()


@pytest.mark.parametrize(
    ("pragma", "fault"),
    [
        ("application_id = 7", "application id 0x7"),
        ("user_version = 0", "schema version 0 where"),
        (f"user_version = {SCHEMA_VERSION + 1}", "a newer version of Riptide wrote it"),
    ],
)
def test_a_file_that_is_not_ours_to_use_has_its_fault_named(
    tmp_path: Path, pragma: str, fault: str
) -> None:
    file = SqliteFile(tmp_path)
    file.open()
    with _looking_into(file) as connection:
        assert find_fault(connection) is None
        connection.execute(f"PRAGMA {pragma}")
        assert fault in (find_fault(connection) or "")
    file.close()


@pytest.mark.parametrize("damage", ["rootpage", "name", "cut"])
def test_a_log_that_cannot_tell_whose_messages_are_whose_is_refused_with_what_to_do(
    tmp_path: Path, damage: str
) -> None:
    file = SqliteFile(tmp_path)
    file.open()
    with _looking_into(file) as connection:
        connection.execute("INSERT INTO topics VALUES (1, 'a-name-of-its-own', 300)")
        for sequence in range(1, 301):
            store(connection, 1, sequence, payload=b"x" * 100)
    file.close()
    content = bytearray(file.path.read_bytes())
    match damage:
        case "rootpage":
            start = content.rindex(b"a-name-of-its-own") // PAGE_BYTES * PAGE_BYTES
            content[start] = 0xFF
        case "name":
            content[content.index(b"a-name-of-its-own") + 3] ^= 1
        case "cut":
            del content[-PAGE_BYTES:]
    file.path.write_bytes(content)
    with pytest.raises(LogCorruptError, match="riptide verify"):
        file.open()
    assert file.path.read_bytes() == content
