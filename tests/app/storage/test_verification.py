"""Whatever is damaged in a log is found, and nothing is found in a log that is whole."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from typing import TYPE_CHECKING

import pytest

from riptide.storage.sqlite import SqliteLog
from riptide.storage.verification import find_damage, opened
from tests.app.storage.appending import append
from tests.app.storage.crash_images import FOR_EVER, payload
from tests.app.storage.damaging import break_page_with, flip_in
from tests.app.storage.old_logs import make_old

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNT = 120


@pytest.fixture
async def database(tmp_path: Path) -> Path:
    log = SqliteLog(tmp_path / "log", FOR_EVER)
    await log.open()
    for topic in ("a", "b"):
        await append(log, topic, *(payload(topic, number) for number in range(1, COUNT + 1)))
    await log.close()
    return tmp_path / "log" / "riptide.db"


def _findings(database: Path, *, at_rest: bool = True) -> list[str]:
    with opened(database) as connection:
        return [finding.text for finding in find_damage(connection, at_rest=at_rest)]


@contextlib.contextmanager
def _writing(database: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        yield connection


@pytest.mark.parametrize("at_rest", [True, False])
def test_a_whole_log_has_no_findings_and_every_message_is_counted(
    database: Path, *, at_rest: bool
) -> None:
    counts: list[int] = []
    with opened(database) as connection:
        assert list(find_damage(connection, None, counts.append, at_rest=at_rest)) == []
    assert sum(counts) == 2 * COUNT


async def test_a_log_is_checked_while_it_is_written_to(database: Path) -> None:
    log = SqliteLog(database.parent, FOR_EVER)
    await log.open()
    await append(log, "a", b'"new"')
    checked = 0

    def advance(count: int) -> None:
        nonlocal checked
        checked += count

    with opened(database) as connection:
        findings = find_damage(connection, None, advance, at_rest=False)
        assert list(findings) == []
        # Nothing is held, so that the service can empty its write-ahead log.
        assert not connection.in_transaction
    assert checked == 2 * COUNT + 1
    await log.close()


@pytest.mark.parametrize("at_rest", [True, False])
def test_damaged_messages_are_named_in_ranges(database: Path, *, at_rest: bool) -> None:
    for number in (7, 50, 51, 52):
        flip_in(database, payload("a", number), 1)
    flip_in(database, payload("b", COUNT), 1)
    assert _findings(database, at_rest=at_rest) == [
        "topic a: message 7 is damaged",
        "topic a: messages 50 to 52 are damaged",
        f"topic b: message {COUNT} is damaged",
    ]


@pytest.mark.parametrize("at_rest", [True, False])
def test_a_page_that_cannot_be_read_does_not_end_the_check(
    database: Path, *, at_rest: bool
) -> None:
    break_page_with(database, payload("a", 50))
    flip_in(database, payload("b", 110), 1)
    findings = _findings(database, at_rest=at_rest)
    assert any(finding.startswith("topic a: messages") for finding in findings)
    assert "topic b: message 110 is damaged" in findings


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        ("UPDATE lives SET epoch = 'x'", "its epoch b'x' is damaged"),
        ("DELETE FROM lives", "is damaged"),
        ("UPDATE topics SET name = '/' WHERE name = 'a'", "topic b'/': its name is damaged"),
        ("DELETE FROM topics WHERE name = 'b'", "its name is lost"),
        ("UPDATE topics SET head = head + 1", "topic a: message 121 is damaged"),
        ("DROP TABLE beginnings", "a part of the log cannot be read"),
    ],
)
def test_what_belongs_to_messages_is_checked_as_well(
    database: Path, damage: str, finding: str
) -> None:
    with _writing(database) as connection:
        connection.execute(damage)
    assert any(finding in each for each in _findings(database))


def test_a_topic_whose_name_differs_from_the_index_of_names_is_found(database: Path) -> None:
    # A long name stands out in the file: once in the table, once in the index of names.
    with _writing(database) as connection:
        connection.execute("UPDATE topics SET name = 'a-name-of-its-own' WHERE name = 'a'")
    held = database.read_bytes()
    assert held.count(b"a-name-of-its-own") == 2
    damaged = held.replace(b"a-name-of-its-own", b"a-name-of-its-owo", 1)
    database.write_bytes(damaged)
    assert any(each.startswith("table topics") for each in _findings(database, at_rest=False))


@pytest.mark.parametrize(
    ("content", "finding"),
    [(b"not a database, but as long as one" * 100, "this is no log"), (b"", "application id 0x0")],
)
def test_a_file_that_is_no_log_is_a_finding(tmp_path: Path, content: bytes, finding: str) -> None:
    (tmp_path / "file").write_bytes(content)
    (found,) = _findings(tmp_path / "file")
    assert found.startswith(finding)


def test_a_foreign_database_is_a_finding(tmp_path: Path) -> None:
    with _writing(tmp_path / "x.db") as connection:
        connection.execute("CREATE TABLE t (x)")
    (finding,) = _findings(tmp_path / "x.db")
    assert finding.startswith("application id")


def test_the_tables_of_an_older_log_are_checked(tmp_path: Path) -> None:
    file = make_old(tmp_path, 3)
    assert _findings(file.path) == []


def test_a_file_beside_which_nothing_may_be_written_is_checked(
    database: Path, tmp_path: Path
) -> None:
    shutil.copy(database, tmp_path / "copy.db")
    assert _findings(tmp_path / "copy.db") == []
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith("copy.db-")] == []
