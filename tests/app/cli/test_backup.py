from __future__ import annotations

import contextlib
import signal
import sqlite3
from typing import TYPE_CHECKING

import pytest

from riptide.storage import backup
from tests.app.cli.logs import make_log

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.cli.conftest import Run


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    data = tmp_path / "data"
    monkeypatch.setenv("RIPTIDE_DATA_DIR", str(data))
    return data


def test_the_copy_is_a_log_and_said_to_be_there(riptide: Run, tmp_path: Path, data: Path) -> None:
    make_log(data, b"1", b"2")
    file = tmp_path / "copy"
    result = riptide("backup", str(file))
    assert (result.code, result.out) == (0, b"")
    assert (
        result.err == f"riptide: the log of {data} is in {file} ({file.stat().st_size:,} bytes)\n"
    )
    with contextlib.closing(sqlite3.connect(file)) as copy:
        assert copy.execute("SELECT payload FROM messages").fetchall() == [(b"1",), (b"2",)]


def test_what_speaks_against_it_is_told_in_one_line(
    riptide: Run, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "copy"
    result = riptide("backup", str(file))
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert result.err.startswith(f"riptide: there is no log in {data}: set RIPTIDE_DATA_DIR")
    make_log(data, b"1")
    file.write_text("mine")
    result = riptide("backup", str(file))
    assert (result.code, file.read_text()) == (1, "mine")
    assert result.err.startswith(f"riptide: {file} exists, and is not overwritten")
    monkeypatch.setenv("RIPTIDE_LOG", "memory")
    assert "there is no log on the disk" in riptide("backup", str(file)).err


def test_ctrl_c_leaves_no_copy(
    riptide: Run, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_log(data, b"1")
    monkeypatch.setattr(backup, "_take_turns", lambda *_: signal.raise_signal(signal.SIGINT))
    file = tmp_path / "copy"
    result = riptide("backup", str(file))
    assert (result.code, result.err) == (130, f"riptide: interrupted: there is no {file}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
