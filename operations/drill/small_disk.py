"""A disk of a limited size that is really full when it is full: a file system in memory."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

from operations.drill.processes import DrillError, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class SmallDisk:
    """A tmpfs that is mounted at a directory."""

    def __init__(self, directory: Path, size_bytes: int) -> None:
        """Mount the disk; make the directory if it is missing.

        Raises:
            DrillError: this user may not mount, or the system has no tmpfs.

        """
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=0700", "riptide", directory)

    def resize(self, size_bytes: int) -> None:
        """Make the disk larger or smaller, with everything on it."""
        _run("mount", "-o", f"remount,size={size_bytes}", self.directory)

    def remove(self) -> None:
        """Unmount the disk; everything on it is gone. Programs may still use it until they end."""
        _run("umount", "--lazy", self.directory)


@contextlib.contextmanager
def small_disk(directory: Path, size_bytes: int) -> Iterator[SmallDisk]:
    """Mount a disk of this size at a directory meanwhile.

    Raises:
        DrillError: this user may not mount, or the system has no tmpfs.

    """
    disk = SmallDisk(directory, size_bytes)
    try:
        yield disk
    finally:
        disk.remove()


def _run(name: str, *arguments: object) -> None:
    done = subprocess.run(  # noqa: S603  # programs of the system
        [program(name), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DrillError(f"{name}: {done.stderr.strip()}")
