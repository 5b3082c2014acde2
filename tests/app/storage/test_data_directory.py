from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

import pytest

from riptide.errors import DataDirectoryError, LogCorruptError
from riptide.storage.data_directory import DataDirectory
from riptide.storage.message_log import Retention
from riptide.storage.sqlite import SqliteLog
from tests.app.storage.appending import append

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES = {"riptide.db", "riptide.db-wal", "riptide.db-shm", "riptide.lock"}
NOBODY = 65534


@pytest.fixture(params=[0o000, 0o022, 0o377], ids=oct)
def _umask(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    assert tmp_path.exists(), "it is made before"
    before = os.umask(request.param)
    yield
    os.umask(before)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _modes(directory: Path) -> dict[str, int]:
    return {path.name: _mode(path) for path in directory.iterdir()}


async def _use(directory: Path) -> dict[str, int]:
    """Open a log, write to it, and return the modes of its files meanwhile."""
    log = SqliteLog(directory, Retention(1000, 3600))
    await log.open()
    await append(log, "a", b"1")
    modes = _modes(directory)
    await log.close()
    return modes


@pytest.mark.usefixtures("_umask")
async def test_what_is_created_is_for_its_user_only_whatever_the_umask(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "data"
    assert await _use(directory) == dict.fromkeys(FILES, 0o600)
    assert (_mode(directory.parent), _mode(directory)) == (0o700, 0o700)


async def test_a_directory_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    directory.chmod(0o751)
    assert await _use(directory) == dict.fromkeys(FILES, 0o600)
    assert _mode(directory) == 0o751


async def test_files_that_others_could_read_are_closed_to_them_and_no_other_file_is(
    tmp_path: Path,
) -> None:
    await _use(tmp_path)
    (tmp_path / "notes").touch()
    for name in _modes(tmp_path):
        (tmp_path / name).chmod(0o644)
    assert await _use(tmp_path) == {**dict.fromkeys(FILES, 0o600), "notes": 0o644}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of others")
async def test_files_of_another_user_are_left_as_they_are(tmp_path: Path) -> None:
    await _use(tmp_path)
    database = tmp_path / "riptide.db"
    database.chmod(0o640)
    os.chown(database, NOBODY, NOBODY)
    modes = await _use(tmp_path)
    assert modes["riptide.db"] == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for others")
async def test_what_root_creates_belongs_to_the_owner_of_the_directory(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, NOBODY, NOBODY)
    await _use(data / "worker-0")
    for path in (data / "worker-0", *(data / "worker-0").iterdir()):
        assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, NOBODY)


def test_a_directory_is_taken_by_one_at_a_time(tmp_path: Path) -> None:
    first, second = DataDirectory(tmp_path), DataDirectory(tmp_path)
    first.take()
    with pytest.raises(DataDirectoryError, match="in use by another Riptide process"):
        second.take()
    first.let_go()
    second.take()
    second.let_go()
    second.let_go()


@pytest.mark.parametrize("way", ["the lock file deleted", "replaced", "hard link", "link"])
def test_a_database_is_taken_by_one_at_a_time_whatever_leads_to_it(
    tmp_path: Path, way: str
) -> None:
    """The lock is on the database itself."""
    first, path = DataDirectory(tmp_path / "data"), tmp_path / "data"
    first.take()
    first.create_database()
    if way == "the lock file deleted":
        first.lock_file.unlink()
    elif way == "replaced":
        first.lock_file.rename(tmp_path / "riptide.lock")
        first.lock_file.touch()
    else:
        path = tmp_path / "other"
        path.mkdir()
        entry = path / "riptide.db"
        entry.hardlink_to(first.database) if way == "hard link" else entry.symlink_to(
            first.database
        )
    second = DataDirectory(path)
    with pytest.raises(DataDirectoryError, match="in use by another Riptide process"):
        second.take()
    first.let_go()
    second.take()
    second.let_go()


@pytest.mark.parametrize("database", ["missing", "empty"])
async def test_a_write_ahead_log_without_its_database_is_not_deleted_but_told(
    tmp_path: Path, database: str
) -> None:
    """SQLite deletes one that lies beside an empty database, whatever is in it."""
    log = SqliteLog(tmp_path / "data", Retention(1000, 3600))
    await log.open()
    await append(log, "a", b"1")
    killed = tmp_path / "killed"
    shutil.copytree(tmp_path / "data", killed)
    await log.close()
    aside = (killed / "riptide.db").rename(tmp_path / "aside")
    if database == "empty":
        (killed / "riptide.db").touch()
    for _ in range(2):
        with pytest.raises(LogCorruptError, match="-wal beside it has messages"):
            await SqliteLog(killed, Retention(1000, 3600)).open()
    aside.replace(killed / "riptide.db")
    log = SqliteLog(killed, Retention(1000, 3600))
    await log.open()
    assert [message.payload for message in await log.read("a", 0)] == [b"1"]
    await log.close()


def test_a_directory_that_went_away_meanwhile_harms_nobody(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path / "data")
    directory.take()
    shutil.rmtree(directory.path)
    directory.close_to_others()
    directory.let_go()
