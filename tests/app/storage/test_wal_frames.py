from __future__ import annotations

import sqlite3
import struct
from typing import TYPE_CHECKING

import pytest

from riptide.storage.wal_frames import find_left_frames, frames_offset
from tests.app.storage.crash_images import make_crash_image
from tests.app.storage.damaging import flip

if TYPE_CHECKING:
    from pathlib import Path

COMMITS = 6


class Wal:
    """The write-ahead log of an image, and where its frames and commits are."""

    def __init__(self, path: Path) -> None:
        self.path = path
        content = path.read_bytes()
        (self.page_bytes,) = struct.unpack_from(">I", content, 8)
        self.count = (len(content) - 32) // (24 + self.page_bytes)
        self.commits = [
            index
            for index in range(self.count)
            if struct.unpack_from(">I", content, self.offset(index) + 4)[0]
        ]

    def offset(self, frame: int) -> int:
        return frames_offset(frame, self.page_bytes)


@pytest.fixture
async def wal(tmp_path: Path) -> Wal:
    # A message takes more than a page, so that each commit has several frames.
    await make_crash_image(tmp_path / "log", tmp_path / "image", COMMITS, size=5_000)
    return Wal(tmp_path / "image" / "riptide.db-wal")


def _recovered(wal: Wal) -> int:
    """Return how many frames SQLite takes."""
    connection = sqlite3.connect(wal.path.with_name("riptide.db"), isolation_level=None)
    connection.execute("PRAGMA schema_version").fetchone()
    # A reader keeps the checkpoint from being complete, so that the file stays as it is.
    (_, count, _) = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return int(count)


def test_a_whole_write_ahead_log_has_nothing_behind_its_last_commit(wal: Wal) -> None:
    assert find_left_frames(wal.path, 0) is None
    assert find_left_frames(wal.path, wal.count) is None
    assert _recovered(wal) == wal.count


@pytest.mark.parametrize("place", [0, 4, 9, 13, 17, 21, 24, 3000])
def test_frames_behind_a_flipped_bit_are_found_wherever_in_a_frame_it_is(
    wal: Wal, place: int
) -> None:
    broken = wal.commits[-3]
    flip(wal.path, wal.offset(broken) + place, 2)
    for known in (0, wal.commits[-4] + 1):
        left = find_left_frames(wal.path, known)
        assert left is not None
        assert left.is_broken
        assert left.first == wal.commits[-4] + 1
        assert len(left.pages) == wal.count - left.first
        # If the damage is in the mark of the end of a commit itself, one is not known as such.
        assert left.commit_count >= 2
    assert _recovered(wal) == wal.commits[-4] + 1


@pytest.mark.parametrize("place", [2, 5, 9, 17, 21, 25])
def test_a_damaged_header_leaves_every_frame(wal: Wal, place: int) -> None:
    flip(wal.path, place)
    left = find_left_frames(wal.path, 0)
    assert left is not None
    assert (left.first, left.is_broken) == (0, True)
    if place != 9:
        assert (len(left.pages), left.commit_count) == (wal.count, len(wal.commits))
    assert _recovered(wal) == 0


def test_a_commit_without_its_end_is_told_from_damage(wal: Wal) -> None:
    end = wal.commits[-1]
    first = wal.commits[-2] + 1
    assert end > first
    with wal.path.open("r+b") as file:
        file.truncate(wal.offset(end))
    left = find_left_frames(wal.path, _recovered(wal))
    assert left is not None
    assert (left.first, len(left.pages), left.commit_count) == (first, end - first, 0)
    assert not left.is_broken


def test_a_frame_that_is_cut_off_is_damage(wal: Wal) -> None:
    with wal.path.open("r+b") as file:
        file.truncate(wal.offset(wal.count) - 100)
    left = find_left_frames(wal.path, 0)
    assert left is not None
    assert left.is_broken


def test_frames_of_an_older_generation_are_not_taken_for_lost_ones(tmp_path: Path) -> None:
    database = tmp_path / "x.db"
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("CREATE TABLE t (x)")
    for _ in range(20):
        connection.execute("INSERT INTO t VALUES (randomblob(3000))")
    connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    connection.execute("INSERT INTO t VALUES (1)")
    wal = Wal(tmp_path / "x.db-wal")
    assert wal.count > 20
    assert find_left_frames(wal.path, 0) is None
    connection.close()


@pytest.mark.parametrize("content", [b"", b"\0" * 10, b"\0" * 32, b"x" * 40, b"\0" * 20000])
def test_a_file_that_is_no_write_ahead_log_has_nothing_or_is_broken(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "wal").write_bytes(content)
    left = find_left_frames(tmp_path / "wal", 0)
    assert left is None or left.is_broken
