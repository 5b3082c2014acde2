from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from riptide.storage.file_lock import IN_USE, SERVED, LockedBytes, is_locked, lock
from riptide.storage.message_log import Retention
from riptide.storage.sqlite import SqliteLog
from tests.app.storage.appending import append

if TYPE_CHECKING:
    from pathlib import Path

# Counts the messages of a log, and leaves, as the last to close it unless another has locked it.
VISIT = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("SELECT count(*) FROM messages").fetchone()[0])
connection.close()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "file").touch()
    return tmp_path / "file"


def _open(file: Path) -> int:
    return os.open(file, os.O_RDWR)


def test_bytes_are_locked_by_one_until_it_closes_the_file(file: Path) -> None:
    first, second = _open(file), _open(file)
    assert not is_locked(file, IN_USE)
    assert lock(first, IN_USE)
    assert is_locked(file, IN_USE)
    assert not lock(second, IN_USE)
    os.close(first)
    assert not is_locked(file, IN_USE)
    assert lock(second, IN_USE)
    os.close(second)


def test_a_shared_lock_is_any_number_s_and_other_bytes_stay_free(file: Path) -> None:
    first, second = _open(file), _open(file)
    assert [lock(each, SERVED) for each in (first, second)] == [True, True]
    assert is_locked(file, SERVED)
    assert not is_locked(file, IN_USE)
    os.close(first)
    assert is_locked(file, SERVED)
    os.close(second)


def test_a_file_that_is_not_there_is_not_locked(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "nothing", IN_USE)


@pytest.mark.parametrize("what", [IN_USE, SERVED])
def test_a_database_with_locked_bytes_is_used_as_ever(tmp_path: Path, what: LockedBytes) -> None:
    """In both journal modes, the exclusive one of SQLite's locks included."""
    database = tmp_path / "database"
    connection = sqlite3.connect(database, isolation_level=None, timeout=0)
    connection.execute("CREATE TABLE numbers (n)")
    descriptor = _open(database)
    assert lock(descriptor, what)
    for mode in ("WAL", "DELETE"):
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("INSERT INTO numbers VALUES (1)")
        connection.execute("COMMIT")
    connection.close()
    os.close(descriptor)


async def test_sqlite_s_own_locks_on_an_open_log_survive_whatever_is_refused_or_asked(
    tmp_path: Path,
) -> None:
    """A process loses its locks on a file as soon as it closes any descriptor of the file.

    Another program would then take itself for the last that closes the log, and delete the
    write-ahead log under the service.
    """
    data, other = tmp_path / "data", tmp_path / "other"
    log = SqliteLog(data, Retention(1000, 3600))
    await log.open()
    other.mkdir()
    (other / "riptide.db").hardlink_to(data / "riptide.db")
    for number in range(1, 4):
        await append(log, "a", b"1")
        with pytest.raises(Exception, match="in use by another Riptide process"):
            await SqliteLog(other, Retention(1000, 3600)).open()
        assert is_locked(data / "riptide.db", SERVED)
        assert int(_visit(data / "riptide.db")) == number
        assert log.unavailable_reason() is None
    assert (data / "riptide.db-wal").stat().st_size > 0
    await log.close()
    assert int(_visit(data / "riptide.db")) == 3


def _visit(database: Path) -> bytes:
    return subprocess.run(
        [sys.executable, "-c", VISIT, database], check=True, capture_output=True
    ).stdout
