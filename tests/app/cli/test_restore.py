from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from riptide.storage import backup
from tests.app.cli.logs import make_log, payloads_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.cli.conftest import Run
    from tests.conftest import StartService


@pytest.fixture
def file(riptide: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a backup of a log with one message."""
    monkeypatch.setenv("RIPTIDE_DATA_DIR", str(tmp_path / "first"))
    make_log(tmp_path / "first", b"1")
    file = str(tmp_path / "copy")
    assert riptide("backup", file).code == 0
    monkeypatch.setenv("RIPTIDE_DATA_DIR", str(tmp_path / "data"))
    return file


def test_a_backup_becomes_the_log_of_a_directory_that_had_none(
    riptide: Run, tmp_path: Path, file: str
) -> None:
    result = riptide("restore", file)
    assert (result.code, result.out) == (0, b"")
    assert (
        result.err == f"riptide: {file} is the log of {tmp_path / 'data'} now: start the service\n"
    )
    assert payloads_of(tmp_path / "data") == [b"1"]


def test_a_log_is_replaced_only_with_the_option(riptide: Run, tmp_path: Path, file: str) -> None:
    make_log(tmp_path / "data", b"old")
    result = riptide("restore", file)
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert result.err.startswith(f"riptide: {tmp_path / 'data'} has a log already")
    assert payloads_of(tmp_path / "data") == [b"old"]
    assert riptide("restore", "--replace", file).code == 0
    assert payloads_of(tmp_path / "data") == [b"1"]


def test_a_running_service_keeps_its_log(
    riptide: Run, file: str, start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start_service()
    first, last = service.publish("a", 1)
    monkeypatch.setenv("RIPTIDE_DATA_DIR", str(service.settings["DATA_DIR"]))
    result = riptide("restore", "--replace", file)
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "in use by another Riptide process: stop that one" in result.err
    assert first == last == service.publish("a", 2)[0].replace("-2", "-1")


def test_ctrl_c_leaves_the_log_as_it_was(
    riptide: Run, tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_log(tmp_path / "data", b"old")
    monkeypatch.setattr(backup, "_take_turns", lambda *_: signal.raise_signal(signal.SIGTERM))
    result = riptide("restore", "--replace", file)
    assert (result.code, result.err) == (130, f"riptide: interrupted: {file} was not restored\n")
    assert payloads_of(tmp_path / "data") == [b"old"]
