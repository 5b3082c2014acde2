from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
from typing import TYPE_CHECKING

import pytest

from riptide.errors import LogUnavailableError
from riptide.storage import sqlite_writer
from riptide.storage.log_files import LogFiles
from riptide.storage.message_log import Retention
from riptide.storage.sqlite import SqliteLog
from tests.app.storage.appending import append
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

RETENTION = Retention(1000, 3600)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@contextlib.asynccontextmanager
async def _opened(directory: Path) -> AsyncIterator[SqliteLog]:
    log = SqliteLog(directory, RETENTION)
    await log.open()
    try:
        yield log
    finally:
        await log.close()


async def _payloads(directory: Path) -> list[bytes]:
    async with _opened(directory) as log:
        return [message.payload for message in await log.read("a", 0)]


def _killed(directory: Path, copy: Path) -> Path:
    """Return what a process that is killed now would leave at the paths."""
    return shutil.copytree(directory, copy)


def _move(data: Path) -> None:
    data.rename(data.with_name("moved"))


def _move_back(data: Path) -> None:
    data.with_name("moved").rename(data)


def _remove(data: Path) -> None:
    shutil.rmtree(data)


def _replace_by_a_copy(data: Path) -> None:
    _move(data)
    shutil.copytree(data.with_name("moved"), data)


def _replace_by_links(data: Path) -> None:
    """Put another directory in place, with the very same files."""
    _move(data)
    data.mkdir()
    for file in data.with_name("moved").iterdir():
        (data / file.name).hardlink_to(file)


def _file(name: str, deed: Callable[[Path], object]) -> Callable[[Path], object]:
    def change(data: Path) -> None:
        deed(data / name)

    change.__name__ = f"_{deed.__name__.lstrip('_')}_{name}"
    return change


def _rename(file: Path) -> None:
    file.rename(file.with_suffix(".old"))


def _copy_over(file: Path) -> None:
    copy = file.with_suffix(".new")
    shutil.copy(file, copy)
    copy.replace(file)


def _unlink(file: Path) -> None:
    file.unlink()


BESIDE = [
    _file(name, deed)
    for name in ("riptide.db-wal", "riptide.db-shm")
    for deed in (_unlink, _rename, _copy_over)
]
DEEDS = [
    _move,
    _remove,
    _replace_by_a_copy,
    _replace_by_links,
    *(_file("riptide.db", deed) for deed in (_unlink, _rename, _copy_over)),
    *BESIDE,
]


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__[1:])
async def test_no_append_is_acknowledged_into_files_that_are_not_at_their_paths(
    data: Path, deed: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    async with _opened(data) as log:
        assert await append(log, "a", b"1") == 1
        deed(data)
        for _ in range(3):
            with pytest.raises(LogUnavailableError, match=r"(moved|removed).*was not published"):
                await append(log, "a", b"2")
        assert "was moved" in (reason := log.unavailable_reason() or "") or "removed" in reason
        assert str(data) not in reason
        assert [message.payload for message in await log.read("a", 0)] == [b"1"]
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert str(data) in errors[0].getMessage()


async def test_readiness_tells_that_files_are_gone_though_nobody_publishes(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "LOOK_INTERVAL_S", 0.01)
    async with _opened(data) as log:
        _move(data)
        await eventually(lambda: log.unavailable_reason() is not None)
        assert "the data directory was moved or removed" in (log.unavailable_reason() or "")


async def test_the_log_goes_on_by_itself_once_the_very_same_files_are_back(
    data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlite_writer, "LOOK_INTERVAL_S", 0.01)
    async with _opened(data) as log:
        assert await append(log, "a", b"1") == 1
        _move(data)
        with pytest.raises(LogUnavailableError, match="moved"):
            await append(log, "a", b"2")
        _move_back(data)
        await eventually(lambda: log.unavailable_reason() is None)
        assert await append(log, "a", b"3") == 2
    assert "in their places again" in caplog.text
    assert not (data / "riptide.db-wal").exists(), "a log in its place is closed as ever"
    assert await _payloads(data) == [b"1", b"3"]


async def test_a_commit_during_which_the_files_went_away_is_not_acknowledged(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer says that the message may be there, and it is once the files are back."""
    async with _opened(data) as log:
        await append(log, "a", b"1")
        # The commit asks for room once it has begun.
        monkeypatch.setattr(log._file.room, "require", lambda *_: _move(data))
        with pytest.raises(LogUnavailableError, match=r"lost, unless.*read the topic before"):
            await append(log, "a", b"2")
        monkeypatch.undo()
        _move_back(data)
        assert await append(log, "a", b"3") == 3
    assert await _payloads(data) == [b"1", b"2", b"3"]


@pytest.mark.parametrize("deed", BESIDE, ids=lambda deed: deed.__name__[1:])
async def test_what_was_acknowledged_survives_the_loss_of_a_file_beside_the_database(
    tmp_path: Path,
    data: Path,
    deed: Callable[[Path], object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If another file is in its place, the process has to end in order."""
    monkeypatch.setattr(sqlite_writer, "LOOK_INTERVAL_S", 0.01)
    async with _opened(data) as log:
        for _ in range(10):
            await append(log, "a", b"1")
        deed(data)
        await eventually(lambda: log.unavailable_reason() is not None)
        killed = _killed(data, tmp_path / "killed")
    assert await _payloads(data) == [b"1"] * 10
    assert await _payloads(killed) == [b"1"] * 10


async def test_the_end_of_a_moved_log_leaves_alone_what_has_taken_its_place(
    tmp_path: Path, data: Path
) -> None:
    """SQLite deletes what lies beside the path of a database when it closes the database."""
    async with _opened(data) as log:
        await append(log, "a", b"old")
        _move(data)
        async with _opened(data) as other:
            await append(other, "a", b"new")
            await log.close()
            killed = _killed(data, tmp_path / "killed")
    assert await _payloads(killed) == [b"new"]
    assert await _payloads(data) == [b"new"]
    assert await _payloads(tmp_path / "moved") == [b"old"]


def _link_to(database: Path, link: Path) -> Path:
    """Make a link to a database that is to be made; return where its write-ahead log will be."""
    for directory in (database.parent, link.parent):
        directory.mkdir()
    link.symlink_to(database)
    return database.with_name(f"{database.name}-wal")


async def test_a_link_to_the_database_is_followed_and_watched(tmp_path: Path, data: Path) -> None:
    wal = _link_to(tmp_path / "disk" / "real.db", data / "riptide.db")
    async with _opened(data) as log:
        assert await append(log, "a", b"1") == 1
        assert wal.stat().st_size > 0
        _rename(wal)
        with pytest.raises(LogUnavailableError, match=r"real\.db-wal was moved"):
            await append(log, "a", b"2")
        wal.with_suffix(".old").rename(wal)
        assert await append(log, "a", b"2") == 2
        (data / "riptide.db").unlink()
        (data / "riptide.db").symlink_to(tmp_path / "other.db")
        with pytest.raises(LogUnavailableError, match=r"riptide\.db was moved"):
            await append(log, "a", b"3")


def test_files_that_nobody_holds_are_in_their_places() -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        assert LogFiles().look(connection) is None
