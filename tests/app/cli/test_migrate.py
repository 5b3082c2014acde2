"""The command line around the migration, which tests of its own look at."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from typing import TYPE_CHECKING

import pytest

from operations.ports import free_port
from riptide.storage.jetstream import engine, migration
from riptide.storage.sqlite_file import SqliteFile
from tests.app.cli.logs import make_log
from tests.app.storage.damaging import flip_in
from tests.nats_servers import one_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.app.cli.conftest import Run


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of three messages, and a server to move it to."""
    data = tmp_path / "data"
    monkeypatch.setenv("RIPTIDE_DATA_DIR", str(data))
    monkeypatch.setenv("RIPTIDE_JETSTREAM_REPLICAS", "1")
    make_log(data, b'"one"', b'"two"', b'"three"')
    return data


@pytest.fixture
def _server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with one_server(tmp_path / "nats") as url:
        monkeypatch.setenv("RIPTIDE_JETSTREAM_URLS", url)
        yield


@pytest.mark.usefixtures("_server")
def test_what_was_moved_is_said_and_a_second_time_nothing_is_left(riptide: Run, data: Path) -> None:
    result = riptide("migrate")
    assert (result.code, result.out) == (0, b"")
    assert result.err == (
        "riptide: the stream riptide was created, with 1 replicas\n"
        f"riptide: the stream riptide has the log of {data}: 1 topics, 3 messages (3 stored now), "
        "each compared. Start the service with RIPTIDE_LOG=jetstream, and not with this directory "
        "any more\n"
    )
    again = riptide("migrate")
    assert (again.code, "3 messages (0 stored now)" in again.err) == (0, True)


@pytest.mark.usefixtures("_server")
def test_damaged_messages_are_counted(riptide: Run, data: Path) -> None:
    flip_in(data / "riptide.db", b'"two"', 1)
    for _ in range(2):
        result = riptide("migrate")
        assert result.code == 0
        assert "topic a, 2 to 2" in result.err
        assert "1 damaged messages could not be moved" in result.err
        assert "1 topics, 2 messages" in result.err


def test_a_log_in_use_or_none_or_no_server_is_told_in_one_line(
    riptide: Run, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "START_PATIENCE_S", 0.2)
    monkeypatch.setenv("RIPTIDE_JETSTREAM_URLS", f"nats://a:secret@127.0.0.1:{free_port()}")
    result = riptide("migrate")
    assert (result.code, result.err.count("\n"), "secret" in result.err) == (1, 1, False)
    assert "no server of NATS could be reached" in result.err
    served = SqliteFile(data)
    served.open()
    result = riptide("migrate")
    served.close()
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "is in use by another Riptide process" in result.err
    monkeypatch.setenv("RIPTIDE_DATA_DIR", str(tmp_path / "none"))
    result = riptide("migrate")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "there is no log in" in result.err


@pytest.mark.usefixtures("_server", "data")
def test_ctrl_c_says_how_to_go_on_and_a_disk_that_fails_is_said(
    riptide: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupt(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(3600)

    with monkeypatch.context() as patched:
        patched.setattr(migration.Migration, "_move", interrupt)
        result = riptide("migrate")
    assert result.code == 130
    assert "run this again, and it goes on where it ended" in result.err

    async def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(migration.Migration, "_move", fail)
    result = riptide("migrate")
    assert (result.code, "cannot be read (disk I/O error)" in result.err) == (1, True)
