from __future__ import annotations

import signal
import sqlite3
from typing import TYPE_CHECKING

import pytest

from riptide.storage import verification
from tests.app.cli.logs import make_log
from tests.app.storage.damaging import flip_in

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.cli.conftest import Run


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    data = tmp_path / "data"
    monkeypatch.setenv("RIPTIDE_DATA_DIR", str(data))
    make_log(data, b'"one"', b'"two"', b'"three"')
    return data


def test_a_whole_log_and_a_whole_backup_end_with_0(
    riptide: Run, data: Path, tmp_path: Path
) -> None:
    result = riptide("verify")
    assert (result.code, result.out) == (0, b"")
    assert result.err == f"riptide: {data / 'riptide.db'} is whole: 3 messages\n"
    backup = str(tmp_path / "backup")
    assert riptide("backup", backup).code == 0
    assert riptide("verify", backup).code == 0


def test_each_damage_is_a_line_and_the_command_ends_with_1(riptide: Run, data: Path) -> None:
    flip_in(data / "riptide.db", b'"two"', 1)
    result = riptide("verify")
    assert (result.code, result.out) == (1, b"topic a: message 2 is damaged\n")
    assert "is damaged: 1 findings, 2 whole messages" in result.err
    assert riptide("verify", str(data / "riptide.db")).code == 1


def test_neither_a_backup_is_made_of_damaged_messages_nor_one_restored(
    riptide: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = tmp_path / "backup"
    assert riptide("backup", str(backup)).code == 0
    flip_in(data / "riptide.db", b'"two"', 1)
    flip_in(backup, b'"two"', 1)
    result = riptide("backup", str(tmp_path / "second"))
    assert (result.code, (tmp_path / "second").exists()) == (1, False)
    assert "topic a: message 2 is damaged" in result.err
    monkeypatch.setenv("RIPTIDE_DATA_DIR", str(tmp_path / "other"))
    result = riptide("restore", str(backup))
    assert (result.code, (tmp_path / "other" / "riptide.db").exists()) == (1, False)
    assert "topic a: message 2 is damaged" in result.err


def test_what_cannot_be_checked_ends_with_2(
    riptide: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = riptide("verify", str(tmp_path / "nothing"))
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "there is no file" in result.err
    locked = sqlite3.OperationalError("database is locked")

    def fail(*_: object, **__: object) -> None:
        raise locked

    monkeypatch.setattr(verification, "find_foreignness", fail)
    result = riptide("verify")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "cannot be checked (database is locked)" in result.err
    assert data.exists()


@pytest.mark.usefixtures("data")
def test_ctrl_c_says_that_not_all_was_checked(
    riptide: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        verification, "_check_topics", lambda *_: signal.raise_signal(signal.SIGINT)
    )
    result = riptide("verify")
    assert (result.code, result.err) == (130, "riptide: interrupted: not all was checked\n")
