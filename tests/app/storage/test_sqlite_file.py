from __future__ import annotations

import contextlib
import os
import random
import re
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from riptide.errors import DataDirectoryError, LogCorruptError, StartError
from riptide.storage.schema import APPLICATION_ID, SCHEMA_VERSION
from riptide.storage.sqlite_file import SqliteFile
from tests.app.storage.stored import store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _make(directory: Path) -> str:
    """Make a proper log with a thousand messages, all of it in the main file."""
    file = SqliteFile(directory)
    epoch = file.open()
    connection = file.connect()
    connection.execute("INSERT INTO topics VALUES (1, 'a', 1000)")
    connection.execute("BEGIN")
    for sequence in range(1, 1001):
        store(connection, 1, sequence, payload=b"0" * 500)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    file.close()
    return epoch


def test_a_missing_directory_is_created_and_its_log_begins_a_new_life_each_time(
    tmp_path: Path,
) -> None:
    file = SqliteFile(tmp_path / "a" / "b")
    epochs = []
    for _ in range(3):
        epochs.append(file.open())
        assert file.lives == {epoch: number for number, epoch in enumerate(epochs, 1)}
        file.close()
    assert all(re.fullmatch("[0-9a-f]{8}", epoch) for epoch in epochs)
    assert len(set(epochs)) == 3
    header = file.path.read_bytes()[:100]
    assert int.from_bytes(header[68:72], "big") == APPLICATION_ID
    assert int.from_bytes(header[60:64], "big") == SCHEMA_VERSION


def test_a_new_log_has_a_new_epoch(tmp_path: Path) -> None:
    assert _make(tmp_path / "a") != _make(tmp_path / "b")


def test_commits_wait_for_the_disk_and_do_not_block_readers(tmp_path: Path) -> None:
    file = SqliteFile(tmp_path)
    file.open()
    connection = file.connect()
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    file.close()


def _text(path: Path) -> None:
    path.write_text("this is my diary\n" * 1000)


def _garbled(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(random.Random(1).randbytes(200_000))


def _garbled_name(path: Path) -> None:
    """Spoil the name of a table, which SQLite's error message then repeats: it is no UTF-8."""
    path.write_bytes(path.read_bytes().replace(b"messagesmessages", b"\xf2essages\xf2essages"))


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _foreign(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.execute("INSERT INTO recipes VALUES ('soup')")
    connection.commit()
    connection.close()


def _newer(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _without_a_table(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE lives")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


@pytest.mark.parametrize(
    "spoil",
    [_text, _garbled, _garbled_name, _cut, _foreign, _newer, _without_a_table],
    ids=lambda spoil: spoil.__name__[1:],
)
def test_a_damaged_or_foreign_file_is_refused_and_left_as_it_is(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    _make(tmp_path)
    file = SqliteFile(tmp_path)
    spoil(file.path)
    before = file.path.read_bytes()
    with pytest.raises(LogCorruptError, match="restore it from a backup, or move it away") as error:
        file.open()
    assert str(file.path) in str(error.value)
    assert file.path.read_bytes() == before
    # The directory is free again for whoever repairs it.
    file.path.unlink()
    for leftover in tmp_path.glob("riptide.db-*"):
        leftover.unlink()
    file.open()
    file.close()


def test_a_file_without_its_end_is_refused_though_its_write_ahead_log_has_the_last_page(
    tmp_path: Path,
) -> None:
    _make(tmp_path)
    file = SqliteFile(tmp_path)
    with contextlib.closing(sqlite3.connect(file.path)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(
            "INSERT INTO messages VALUES (1001, 1, 1001, 0, 0, ?, NULL)", (b"0" * 500,)
        )
        connection.commit()
        wal = tmp_path / "riptide.db-wal"
        left = file.path.read_bytes(), wal.read_bytes()
    file.path.write_bytes(left[0][: len(left[0]) // 2])
    wal.write_bytes(left[1])
    with pytest.raises(LogCorruptError, match="is damaged"):
        file.open()


def test_the_start_reads_no_page_in_the_middle_of_the_messages_however_many_there_are(
    tmp_path: Path,
) -> None:
    _make(tmp_path)
    file = SqliteFile(tmp_path)
    with contextlib.closing(sqlite3.connect(file.path)) as connection:
        connection.execute("DELETE FROM messages WHERE sequence = 500")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
        (middle,) = connection.execute(
            "SELECT pageno FROM dbstat WHERE name = 'messages' AND pagetype = 'leaf' "
            "ORDER BY path LIMIT 1 OFFSET 15"
        ).fetchone()
    with file.path.open("r+b") as database:
        database.seek((middle - 1) * page_bytes)
        database.write(b"\xff" * page_bytes)
    file.open()
    connection = file.connect()
    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        connection.execute("SELECT sum(length(payload)) FROM messages").fetchall()
    connection.close()
    file.close()


def test_an_empty_file_is_a_log_that_was_never_begun(tmp_path: Path) -> None:
    (tmp_path / "riptide.db").touch()
    file = SqliteFile(tmp_path)
    assert file.open()
    file.close()


def test_a_directory_under_a_file_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirectoryError, match="set RIPTIDE_DATA_DIR to a directory") as error:
        SqliteFile(tmp_path / "file" / "data").open()
    assert str(tmp_path / "file" / "data") in str(error.value)


def test_a_data_directory_that_is_a_file_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirectoryError):
        SqliteFile(tmp_path / "file").open()


def test_a_directory_where_the_database_should_be_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "riptide.db").mkdir()
    file = SqliteFile(tmp_path)
    with pytest.raises(StartError, match="unable to open database file"):
        file.open()
    (tmp_path / "riptide.db").rmdir()
    file.open()
    file.close()


def test_a_log_that_another_program_has_locked_names_that_and_not_the_rights_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make(tmp_path)
    file = SqliteFile(tmp_path)
    connect = sqlite3.connect
    with contextlib.closing(connect(file.path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(
            sqlite3, "connect", lambda *args, **kwargs: connect(*args, **{**kwargs, "timeout": 0})
        )
        with pytest.raises(DataDirectoryError, match="another program has it open") as error:
            file.open()
        assert "readable" not in str(error.value)
        other.execute("ROLLBACK")
    file.open()
    file.close()


def test_a_directory_in_use_is_refused_and_free_when_its_user_was_killed(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys, time; from riptide.storage.sqlite_file import SqliteFile\n"
        "SqliteFile(pathlib.Path(sys.argv[1])).open(); print('open', flush=True); time.sleep(3600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        file = SqliteFile(tmp_path)
        with pytest.raises(DataDirectoryError, match="in use by another Riptide process"):
            file.open()
        process.kill()
        process.wait()
    file.open()
    file.close()


def test_the_size_counts_the_write_ahead_log(tmp_path: Path) -> None:
    file = SqliteFile(tmp_path)
    assert file.size_bytes() == 0
    file.open()
    connection = file.connect()
    before = file.size_bytes()
    connection.execute("INSERT INTO topics VALUES (1, ?, 0)", ("x" * 50_000,))
    assert file.size_bytes() >= before + 50_000
    connection.close()
    file.close()


@pytest.mark.parametrize(("size", "factor"), [(200, 1.35), (1_000, 1.15), (3_000, 1.45)])
def test_messages_take_little_more_than_their_size(
    tmp_path: Path, size: int, factor: float
) -> None:
    file = SqliteFile(tmp_path)
    file.open()
    connection = file.connect()
    connection.execute("INSERT INTO topics VALUES (1, 'a', 1000)")
    connection.execute("BEGIN")
    for sequence in range(1, 3001):
        store(connection, 1, sequence, payload=b"x" * size)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    assert file.size_bytes() < factor * 3000 * size
    file.close()
