from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from riptide.storage.partial_files import delete_leftovers, partial_file

if TYPE_CHECKING:
    from pathlib import Path

# Makes a partial file as commands do, with what SQLite has beside it, and is killed.
DIE = """
import os, pathlib, signal, sqlite3, sys
from riptide.storage.partial_files import partial_file
with partial_file(pathlib.Path(sys.argv[1])) as partial:
    connection = sqlite3.connect(partial, isolation_level=None)
    for statement in sys.argv[2:]:
        connection.execute(statement)
    os.kill(os.getpid(), signal.SIGKILL)
"""
STATEMENTS = {
    "empty": [],
    "with a journal": ["CREATE TABLE a (n)", "BEGIN", "INSERT INTO a VALUES (1)"],
    "with a write-ahead log": ["PRAGMA journal_mode = WAL", "CREATE TABLE a (n)"],
}


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@pytest.mark.parametrize("statements", STATEMENTS.values(), ids=STATEMENTS)
def test_what_a_killed_process_leaves_is_deleted_by_the_next(
    tmp_path: Path, statements: list[str]
) -> None:
    died = subprocess.run(
        [sys.executable, "-c", DIE, tmp_path / "monday", *statements], check=False
    )
    assert died.returncode == -signal.SIGKILL
    assert any(name.endswith(".partial") for name in _names(tmp_path))
    with partial_file(tmp_path / "tuesday") as partial:
        assert _names(tmp_path) == {partial.name}
    assert _names(tmp_path) == set()


def test_a_file_that_another_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    with partial_file(tmp_path / "monday") as first, partial_file(tmp_path / "tuesday") as second:
        sqlite3.connect(first).execute("CREATE TABLE a (n)").connection.close()
        delete_leftovers(tmp_path)
        assert _names(tmp_path) == {first.name, second.name}
    assert _names(tmp_path) == set()


def test_a_file_that_was_given_its_name_stays(tmp_path: Path) -> None:
    with partial_file(tmp_path / "monday") as partial:
        partial.write_bytes(b"1")
        partial.rename(tmp_path / "monday")
    assert (tmp_path / "monday").read_bytes() == b"1"


def test_files_of_others_are_left_alone_whatever_their_names(tmp_path: Path) -> None:
    (tmp_path / ".diary.abcdefgh.partial").write_text("Monday")
    (tmp_path / ".notes.partial").touch()
    (tmp_path / "riptide.db.abcdefgh.partial").touch()
    (tmp_path / ".directory.abcdefgh.partial").mkdir()
    (tmp_path / ".link.abcdefgh.partial").symlink_to("nowhere")
    os.mkfifo(tmp_path / ".pipe.abcdefgh.partial")
    names = _names(tmp_path)
    delete_leftovers(tmp_path)
    assert _names(tmp_path) == names


def test_a_directory_that_is_not_there_has_no_leftovers(tmp_path: Path) -> None:
    delete_leftovers(tmp_path / "nothing")
