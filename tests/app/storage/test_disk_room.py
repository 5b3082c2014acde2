from __future__ import annotations

import errno
import os
import sqlite3
from typing import TYPE_CHECKING

import pytest

from riptide.storage.data_directory import DataDirectory
from riptide.storage.disk_room import DatabaseSize, DiskFullError, DiskRoom, is_full
from tests.app.messages import published
from tests.small_disk import fill, mounted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from operations.drill.small_disk import SmallDisk

MEGABYTE = 1024 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted(tmp_path / "data", 16 * MEGABYTE) as disk:
        yield disk


@pytest.fixture
def room(disk: SmallDisk) -> Iterator[DiskRoom]:
    directory = DataDirectory(disk.directory)
    directory.take()
    directory.create(directory.database)
    yield DiskRoom(directory)
    directory.let_go()


def _free_bytes(disk: SmallDisk) -> int:
    status = os.statvfs(disk.directory)
    return status.f_bavail * status.f_frsize


def test_the_reserve_is_a_part_of_the_disk_that_is_given_up_and_taken_again(
    disk: SmallDisk, room: DiskRoom
) -> None:
    before = _free_bytes(disk)
    assert room.reserve_bytes() == MEGABYTE
    for _ in range(2):
        room.make_reserve()
        assert before - _free_bytes(disk) == MEGABYTE
    assert room.give_up_reserve()
    assert _free_bytes(disk) == before
    assert not room.give_up_reserve()


def test_a_disk_without_the_room_for_it_has_no_reserve_until_there_is_room(
    disk: SmallDisk, room: DiskRoom
) -> None:
    filler = fill(disk)
    room.make_reserve()
    assert not room.give_up_reserve()
    filler.unlink()
    room.make_reserve()
    assert room.give_up_reserve()


def _never() -> DatabaseSize:
    raise AssertionError("there is plenty of room")


def test_what_leaves_too_little_room_is_refused_and_room_in_the_database_counts(
    room: DiskRoom,
) -> None:
    room.make_reserve()
    room.require([published("a", [b"1"])], _never)
    large = [published("a", [b"x" * 9 * MEGABYTE])]
    with pytest.raises(DiskFullError, match=r"the disk is full: \d+ bytes are free"):
        room.require(large, lambda: DatabaseSize(0, 0))
    room.require(large, lambda: DatabaseSize(16 * MEGABYTE, 0))


def test_room_that_the_reserve_has_given_up_is_no_room_for_messages(room: DiskRoom) -> None:
    # With its share of the write-ahead log and of the database, it needs 14.4 MB of the 16 MB.
    publication = [published("a", [b"x" * 5_900_000])]
    room.make_reserve()
    for _ in range(2):
        with pytest.raises(DiskFullError):
            room.require(publication, lambda: DatabaseSize(0, 0))
        room.give_up_reserve()


def test_what_is_not_moved_to_the_database_yet_needs_room_as_well(
    disk: SmallDisk, room: DiskRoom
) -> None:
    room.make_reserve()
    publication = [published("a", [b"x" * 5_000_000])]
    (disk.directory / "riptide.db-wal").write_bytes(bytes(2 * MEGABYTE))
    room.require(publication, lambda: DatabaseSize(0, 0))
    with pytest.raises(DiskFullError):
        room.require(publication, lambda: DatabaseSize(0, 4 * MEGABYTE))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG], ids=os.strerror)
def test_a_disk_a_quota_and_a_file_without_room_are_all_full(number: int) -> None:
    assert is_full(OSError(number, ""))


@pytest.mark.parametrize("error", [OSError(errno.EACCES, ""), ValueError(), sqlite3.Error("ours")])
def test_other_errors_are_no_lack_of_room(error: Exception) -> None:
    assert not is_full(error)


def test_what_sqlite_says_of_a_full_database_is_a_lack_of_room_and_of_a_lock_is_not(
    tmp_path: Path,
) -> None:
    first, second = (
        sqlite3.connect(tmp_path / "file.db", isolation_level=None, timeout=0) for _ in range(2)
    )
    first.execute("PRAGMA max_page_count = 1")
    with pytest.raises(sqlite3.OperationalError) as full:
        first.execute("CREATE TABLE t (x)")
    assert is_full(full.value)
    first.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError) as locked:
        second.execute("BEGIN IMMEDIATE")
    assert not is_full(locked.value)
    first.close()
    second.close()
