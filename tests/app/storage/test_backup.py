from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from riptide.errors import BackupError, DataDirectoryError
from riptide.storage import backup
from riptide.storage.backup import back_up, restore
from riptide.storage.message_log import Retention
from riptide.storage.schema import SCHEMA_VERSION
from riptide.storage.sqlite import SqliteLog
from tests.app.storage.appending import append
from tests.app.storage.old_logs import OLD_SCHEMAS, make_old

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

RETENTION = Retention(1_000_000, 3600)
NOBODY = 65534


@contextlib.asynccontextmanager
async def _opened(directory: Path) -> AsyncIterator[SqliteLog]:
    log = SqliteLog(directory, RETENTION)
    await log.open()
    try:
        yield log
    finally:
        await log.close()


async def _make(directory: Path, *payloads: bytes) -> None:
    async with _opened(directory) as log:
        await append(log, "a", *payloads)


async def _payloads(directory: Path) -> list[bytes]:
    async with _opened(directory) as log:
        return [message.payload for message in await log.read("a", 0)]


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


async def test_a_copy_of_a_log_in_use_is_one_file_that_is_a_whole_log(tmp_path: Path) -> None:
    file = tmp_path / "copy"
    async with _opened(tmp_path / "data") as log:
        await append(log, "a", b"1", b"2")
        size = await asyncio.to_thread(back_up, tmp_path / "data", file)
        await append(log, "a", b"3")
    assert size == file.stat().st_size
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert _names(tmp_path) == {"copy", "data"}
    with contextlib.closing(sqlite3.connect(file)) as copy:
        assert copy.execute("SELECT payload FROM messages").fetchall() == [(b"1",), (b"2",)]
        assert _names(tmp_path) == {"copy", "data"}
    restore(file, tmp_path / "new", replace=False)
    # As the service leaves it, any version of it.
    with contextlib.closing(sqlite3.connect(tmp_path / "new" / "riptide.db")) as log_at_rest:
        assert log_at_rest.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert await _payloads(tmp_path / "new") == [b"1", b"2"]
    # And the copy is as good as before.
    restore(file, tmp_path / "another", replace=False)
    assert await _payloads(tmp_path / "another") == [b"1", b"2"]
    assert _names(tmp_path) == {"copy", "data", "new", "another"}


async def test_a_log_that_nobody_uses_can_be_copied_too(tmp_path: Path) -> None:
    await _make(tmp_path / "data", b"1")
    back_up(tmp_path / "data", tmp_path / "copy")
    restore(tmp_path / "copy", tmp_path / "new", replace=False)
    assert await _payloads(tmp_path / "new") == [b"1"]


async def test_a_copy_ends_while_commits_go_on_and_hinders_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step waits for a commit: a copy that begins again after one would never end."""
    monkeypatch.setattr(backup, "STEP_PAGES", 1)
    loop = asyncio.get_running_loop()
    acknowledged: list[int] = []
    remaining: list[int] = []
    async with _opened(tmp_path / "data") as log:
        before = await append(log, "a", *[b"x" * 1000] * 300) + 299

        def commit(_status: int, left: int, _total: int) -> None:
            remaining.append(left)
            assert len(remaining) < 1000, "it began again and again"
            step = asyncio.run_coroutine_threadsafe(append(log, "a", b"later"), loop)
            acknowledged.append(step.result(10))

        monkeypatch.setattr(backup, "_take_turns", commit)
        await asyncio.to_thread(back_up, tmp_path / "data", tmp_path / "copy")
    assert len(acknowledged) > 10
    assert remaining == sorted(remaining, reverse=True)
    monkeypatch.undo()
    restore(tmp_path / "copy", tmp_path / "new", replace=False)
    async with _opened(tmp_path / "new") as log:
        assert await log.bounds("a") == (1, before)


def test_without_a_log_there_is_no_backup(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="there is no log in") as error:
        back_up(tmp_path / "data", tmp_path / "copy")
    assert "RIPTIDE_DATA_DIR" in str(error.value)
    assert _names(tmp_path) == set()


@pytest.mark.parametrize("kind", ["file", "directory", "dangling link"])
async def test_nothing_that_exists_is_overwritten_by_a_backup(tmp_path: Path, kind: str) -> None:
    await _make(tmp_path / "data", b"1")
    file = tmp_path / "copy"
    if kind == "file":
        file.write_text("mine")
    elif kind == "directory":
        file.mkdir()
    else:
        file.symlink_to(tmp_path / "nowhere")
    with pytest.raises(BackupError, match="exists, and is not overwritten"):
        back_up(tmp_path / "data", file)
    assert _names(tmp_path) == {"copy", "data"}
    assert kind != "file" or file.read_text() == "mine"


@pytest.mark.parametrize("links", [True, False])
async def test_a_file_that_comes_to_exist_meanwhile_is_not_overwritten_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, links: bool
) -> None:
    await _make(tmp_path / "data", b"1")
    file = tmp_path / "copy"
    monkeypatch.setattr(backup, "_take_turns", lambda *_: file.write_text("mine"))
    if not links:
        monkeypatch.setattr(os, "link", _refuse_links)
    with pytest.raises(BackupError, match="has come to exist"):
        back_up(tmp_path / "data", file)
    assert file.read_text() == "mine"
    assert _names(tmp_path) == {"copy", "data"}


def _refuse_links(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")


async def test_a_backup_gets_its_name_where_the_file_system_has_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _make(tmp_path / "data", b"1")
    monkeypatch.setattr(os, "link", _refuse_links)
    back_up(tmp_path / "data", tmp_path / "copy")
    assert _names(tmp_path) == {"copy", "data"}


async def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    await _make(tmp_path / "data", b"1")
    with pytest.raises(BackupError, match="No such file or directory") as error:
        back_up(tmp_path / "data", tmp_path / "missing" / "copy")
    assert str(tmp_path / "missing" / "copy") in str(error.value)


@pytest.mark.parametrize("deed", ["back_up", "restore"])
async def test_a_disk_that_is_full_leaves_everything_as_it_was(tmp_path: Path, deed: str) -> None:
    await _make(tmp_path / "data", *[b"x" * 1000] * 2000)
    arguments = "pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])"
    if deed == "restore":
        back_up(tmp_path / "data", tmp_path / "copy")
        await _make(tmp_path / "old", b"old")
        arguments += ", replace=True"
        paths = [tmp_path / "copy", tmp_path / "old"]
    else:
        paths = [tmp_path / "data", tmp_path / "copy"]
    before = _names(tmp_path)
    # No file may grow over a megabyte.
    program = (
        f"import pathlib, resource, sys; from riptide.storage.backup import {deed}\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))\n"
        f"{deed}({arguments})"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, *paths, stderr=subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    assert b"could not be copied" in said
    assert b"see that there is room on the disk" in said
    assert _names(tmp_path) == before
    if deed == "restore":
        assert _names(tmp_path / "old") == {"riptide.db", "riptide.lock"}
        assert await _payloads(tmp_path / "old") == [b"old"]


def _text(path: Path) -> None:
    path.write_text("this is my diary\n" * 5000)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _garbled(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(16384)
        file.write(random.Random(1).randbytes(100_000))


def _garbled_name(path: Path) -> None:
    """Spoil the name of a table, which SQLite's error message then repeats: it is no UTF-8."""
    path.write_bytes(path.read_bytes().replace(b"messagesmessages", b"\xf2essages\xf2essages"))


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _foreign(path: Path) -> None:
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")


def _newer(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


SPOILERS = [_text, _empty, _garbled, _garbled_name, _cut, _foreign, _newer]


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda spoil: spoil.__name__[1:])
async def test_what_is_no_whole_log_is_not_restored_and_nothing_is_lost(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    await _make(tmp_path / "data", *[b"x" * 1000] * 200)
    file = tmp_path / "copy"
    back_up(tmp_path / "data", file)
    spoil(file)
    before = await asyncio.to_thread(file.read_bytes)
    await _make(tmp_path / "old", b"old")
    with pytest.raises(BackupError, match=r"damaged|newer") as error:
        restore(file, tmp_path / "old", replace=True)
    assert str(file) in str(error.value)
    assert ("newer version" in str(error.value)) == (spoil is _newer)
    assert await asyncio.to_thread(file.read_bytes) == before
    assert _names(tmp_path / "old") == {"riptide.db", "riptide.lock"}
    assert await _payloads(tmp_path / "old") == [b"old"]


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda spoil: spoil.__name__[1:])
async def test_what_is_no_whole_log_is_not_backed_up(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    await _make(tmp_path / "data", *[b"x" * 1000] * 200)
    spoil(tmp_path / "data" / "riptide.db")
    with pytest.raises(BackupError, match=r"damaged|newer"):
        back_up(tmp_path / "data", tmp_path / "copy")
    assert _names(tmp_path) == {"data"}


async def test_a_log_that_a_program_has_locked_is_said_to_be_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _make(tmp_path / "data", b"1")
    connect = sqlite3.connect
    database = tmp_path / "data" / "riptide.db"
    with contextlib.closing(connect(database, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(
            sqlite3, "connect", lambda *args, **kwargs: connect(*args, **{**kwargs, "timeout": 0})
        )
        with pytest.raises(BackupError, match="locked until it is restarted"):
            back_up(tmp_path / "data", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


async def test_a_backup_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="there is no file"):
        restore(tmp_path / "copy", tmp_path / "data", replace=False)
    assert _names(tmp_path) == set()


async def test_a_log_that_is_there_is_replaced_only_when_that_is_said(tmp_path: Path) -> None:
    await _make(tmp_path / "data", b"1")
    back_up(tmp_path / "data", tmp_path / "copy")
    await _make(tmp_path / "old", b"old")
    with pytest.raises(BackupError, match=r"has a log already.*--replace"):
        restore(tmp_path / "copy", tmp_path / "old", replace=False)
    assert await _payloads(tmp_path / "old") == [b"old"]
    restore(tmp_path / "copy", tmp_path / "old", replace=True)
    assert await _payloads(tmp_path / "old") == [b"1"]


async def test_what_a_killed_service_left_beside_the_old_log_does_not_get_into_the_new_one(
    tmp_path: Path,
) -> None:
    await _make(tmp_path / "data", b"1")
    back_up(tmp_path / "data", tmp_path / "copy")
    (tmp_path / "old").mkdir()
    async with _opened(tmp_path / "running") as log:
        await append(log, "a", b"old", b"old too")
        for name in ("riptide.db", "riptide.db-wal"):
            shutil.copy(tmp_path / "running" / name, tmp_path / "old" / name)
    restore(tmp_path / "copy", tmp_path / "old", replace=True)
    assert _names(tmp_path / "old") == {"riptide.db", "riptide.lock"}
    assert await _payloads(tmp_path / "old") == [b"1"]


@pytest.mark.parametrize("spoil", [_text, _garbled_name], ids=lambda spoil: spoil.__name__[1:])
async def test_a_log_too_damaged_to_be_opened_can_be_replaced_with_all_that_is_beside_it(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    await _make(tmp_path / "data", b"1")
    back_up(tmp_path / "data", tmp_path / "copy")
    (tmp_path / "old").mkdir()
    async with _opened(tmp_path / "running") as log:
        await append(log, "a", b"old", b"old too")
        shutil.copy(tmp_path / "running" / "riptide.db-wal", tmp_path / "old" / "riptide.db-wal")
    shutil.copy(tmp_path / "copy", tmp_path / "old" / "riptide.db")
    spoil(tmp_path / "old" / "riptide.db")
    restore(tmp_path / "copy", tmp_path / "old", replace=True)
    assert await _payloads(tmp_path / "old") == [b"1"]


async def test_a_backup_put_in_place_by_hand_is_used_with_a_write_ahead_log_again(
    tmp_path: Path,
) -> None:
    await _make(tmp_path / "data", b"1")
    (tmp_path / "new").mkdir()
    back_up(tmp_path / "data", tmp_path / "new" / "riptide.db")
    async with _opened(tmp_path / "new") as log:
        await append(log, "a", b"2")
        assert (tmp_path / "new" / "riptide.db-wal").exists()


@pytest.mark.parametrize("version", OLD_SCHEMAS)
async def test_an_older_log_is_copied_as_it_is_and_brought_up_when_it_is_opened(
    tmp_path: Path, version: int
) -> None:
    make_old(tmp_path / "data", version)
    back_up(tmp_path / "data", tmp_path / "copy")
    with contextlib.closing(sqlite3.connect(tmp_path / "copy")) as copy:
        assert copy.execute("PRAGMA user_version").fetchone() == (version,)
    restore(tmp_path / "copy", tmp_path / "new", replace=False)
    assert await _payloads(tmp_path / "new") == [b"1", b"2", b"3"]


async def test_nothing_is_restored_under_a_service(tmp_path: Path) -> None:
    async with _opened(tmp_path / "data") as log:
        await append(log, "a", b"1")
        await asyncio.to_thread(back_up, tmp_path / "data", tmp_path / "copy")
        with pytest.raises(DataDirectoryError, match="in use by another Riptide process"):
            restore(tmp_path / "copy", tmp_path / "data", replace=True)
        assert await append(log, "a", b"2") == 2


async def test_a_log_cannot_be_restored_from_itself(tmp_path: Path) -> None:
    await _make(tmp_path / "data", b"1")
    (tmp_path / "link").symlink_to(tmp_path / "data" / "riptide.db")
    for file in (tmp_path / "data" / "riptide.db", tmp_path / "link"):
        with pytest.raises(BackupError, match=r"is the log of .* itself"):
            restore(file, tmp_path / "data", replace=True)
    assert await _payloads(tmp_path / "data") == [b"1"]


async def test_a_copy_of_the_files_by_hand_can_be_restored_with_what_was_not_in_the_database(
    tmp_path: Path,
) -> None:
    async with _opened(tmp_path / "data") as log:
        await append(log, "a", b"1")
        shutil.copytree(tmp_path / "data", tmp_path / "copy")
    assert (tmp_path / "copy" / "riptide.db-wal").stat().st_size > 0
    restore(tmp_path / "copy" / "riptide.db", tmp_path / "new", replace=False)
    assert await _payloads(tmp_path / "new") == [b"1"]


async def test_of_the_logs_that_workers_of_an_earlier_version_have_left_one_has_to_be_chosen(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    for worker in ("worker-0", "worker-1"):
        await _make(data / worker, worker.encode())
    with pytest.raises(BackupError, match=r"several workers.*worker-0 is the first of 2"):
        back_up(data, tmp_path / "other")
    assert _names(data) == {"worker-0", "worker-1"}
    # The way to keep one: all workers share the log of the directory itself.
    back_up(data / "worker-1", tmp_path / "copy")
    restore(tmp_path / "copy", data, replace=False)
    assert await _payloads(data) == [b"worker-1"]
    back_up(data, tmp_path / "other")


async def test_a_backup_that_is_interrupted_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _make(tmp_path / "data", b"1")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(backup, "_take_turns", interrupt)
    with pytest.raises(KeyboardInterrupt):
        back_up(tmp_path / "data", tmp_path / "copy")
    assert _names(tmp_path) == {"data"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for others")
async def test_what_root_restores_is_its_service_s(tmp_path: Path) -> None:
    await _make(tmp_path / "data", b"1")
    back_up(tmp_path / "data", tmp_path / "copy")
    (tmp_path / "new").mkdir()
    os.chown(tmp_path / "new", NOBODY, NOBODY)
    restore(tmp_path / "copy", tmp_path / "new", replace=False)
    for name in _names(tmp_path / "new"):
        assert (tmp_path / "new" / name).stat().st_uid == NOBODY


def _unlink(file: Path) -> None:
    file.unlink()


def _replace(file: Path) -> None:
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content)


@pytest.mark.parametrize("lock_file", ["there", "deleted"])
@pytest.mark.parametrize("deed", [_unlink, _replace], ids=lambda deed: deed.__name__[1:])
@pytest.mark.parametrize("name", ["riptide.db", "riptide.db-wal", "riptide.db-shm"])
async def test_files_that_the_service_does_not_write_to_are_not_backed_up(
    tmp_path: Path, name: str, deed: Callable[[Path], None], lock_file: str
) -> None:
    """A copy of them would lack what was acknowledged, or be none of one moment."""
    async with _opened(tmp_path / "data") as log:
        await append(log, "a", b"1")
        deed(tmp_path / "data" / name)
        if lock_file == "deleted":
            (tmp_path / "data" / "riptide.lock").unlink()
        before = _names(tmp_path / "data")
        with pytest.raises(BackupError, match=r"no log in|is not the file that|is missing"):
            back_up(tmp_path / "data", tmp_path / "copy")
        assert _names(tmp_path / "data") == before
    assert _names(tmp_path) == {"data"}


async def test_files_that_are_taken_away_during_a_backup_are_not_backed_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal = tmp_path / "data" / "riptide.db-wal"
    async with _opened(tmp_path / "data") as log:
        await append(log, "a", b"1")
        monkeypatch.setattr(backup, "_take_turns", lambda *_: wal.unlink(missing_ok=True))
        with pytest.raises(BackupError, match="is not the file that"):
            back_up(tmp_path / "data", tmp_path / "copy")
    assert _names(tmp_path) == {"data"}


async def test_a_log_without_its_lock_file_is_backed_up_as_ever(tmp_path: Path) -> None:
    async with _opened(tmp_path / "data") as log:
        await append(log, "a", b"1")
        (tmp_path / "data" / "riptide.lock").unlink()
        back_up(tmp_path / "data", tmp_path / "copy")
        await append(log, "a", b"2")
    restore(tmp_path / "copy", tmp_path / "new", replace=False)
    assert await _payloads(tmp_path / "new") == [b"1"]


async def test_nothing_is_restored_under_a_service_whose_lock_file_was_deleted(
    tmp_path: Path,
) -> None:
    await _make(tmp_path / "data", b"1")
    back_up(tmp_path / "data", tmp_path / "copy")
    async with _opened(tmp_path / "data") as log:
        (tmp_path / "data" / "riptide.lock").unlink()
        with pytest.raises(DataDirectoryError, match="in use"):
            restore(tmp_path / "copy", tmp_path / "data", replace=True)
        await append(log, "a", b"2")
    assert await _payloads(tmp_path / "data") == [b"1", b"2"]


async def test_a_write_ahead_log_without_its_database_is_replaced_only_when_that_is_said(
    tmp_path: Path,
) -> None:
    await _make(tmp_path / "data", b"1")
    back_up(tmp_path / "data", tmp_path / "copy")
    (tmp_path / "old").mkdir()
    wal = tmp_path / "old" / "riptide.db-wal"
    async with _opened(tmp_path / "data") as log:
        await append(log, "a", b"2")
        shutil.copy(tmp_path / "data" / "riptide.db-wal", wal)
    with pytest.raises(BackupError, match=r"has a log already.*--replace"):
        restore(tmp_path / "copy", tmp_path / "old", replace=False)
    assert wal.stat().st_size > 0
    restore(tmp_path / "copy", tmp_path / "old", replace=True)
    assert await _payloads(tmp_path / "old") == [b"1"]


@pytest.mark.parametrize("next_use", ["start", "backup", "restore"])
async def test_what_a_killed_restore_left_in_a_data_directory_is_deleted_by_its_next_use(
    tmp_path: Path, next_use: str
) -> None:
    await _make(tmp_path / "data", b"1")
    back_up(tmp_path / "data", tmp_path / "copy")
    for name in (".riptide.db.abcdefgh.partial", ".riptide.db.abcdefgh.partial-journal"):
        shutil.copy(tmp_path / "copy", tmp_path / "data" / name)
    if next_use == "start":
        await _make(tmp_path / "data", b"2")
    elif next_use == "backup":
        back_up(tmp_path / "data", tmp_path / "another")
    else:
        restore(tmp_path / "copy", tmp_path / "data", replace=True)
    assert _names(tmp_path / "data") == {"riptide.db", "riptide.lock"}
