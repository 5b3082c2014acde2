"""Disks of a limited size, in tests."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, NoReturn

import pytest

from operations.drill.processes import DrillError
from operations.drill.small_disk import SmallDisk, small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path


@contextlib.contextmanager
def mounted(directory: Path, size_bytes: int) -> Iterator[SmallDisk]:
    """Mount a disk of this size at a directory; skip the test if this user may not."""
    try:
        disk = small_disk(directory, size_bytes)
        with disk as mounted_disk:
            yield mounted_disk
    except DrillError as error:
        pytest.skip(f"a disk of a limited size cannot be mounted ({error})")


def fill(disk: SmallDisk) -> Path:
    """Take all the room that a disk has, as another program would; return the file that has it."""
    file = disk.directory / "of-another-program"
    with file.open("ab", buffering=0) as filler:
        for size in (64 * 1024, 1024):
            with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                _write_for_ever(filler, b"x" * size)
    return file


def _write_for_ever(file: FileIO, content: bytes) -> NoReturn:
    while True:
        file.write(content)
