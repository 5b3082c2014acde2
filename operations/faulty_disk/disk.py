"""A disk that fails, delays, hangs, tears or alters what a running program does to its files.

A library in C (``shim.c``) is loaded into the program before the C library, and looks up each call
in a table in a file that both processes have mapped. So the disk becomes bad, and good again, while
the program runs. The table also counts the calls and the bytes of each file.
"""

from __future__ import annotations

import ctypes
import enum
import errno
import mmap
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

SHIM = Path(__file__).with_name("shim.c")
COMPILERS = ("cc", "gcc", "clang")
COMPILE = ("-O2", "-U_FORTIFY_SOURCE", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
RULES, FILES, NAME_BYTES, DIRECTORY_BYTES = 16, 64, 64, 1024
# "All further calls" as a number of calls.
ALWAYS = 2**62
# The files of a log.
DATABASE, WAL, ANY = "riptide.db", "riptide.db-wal", "*"
POLL_S = 0.005
DEADLINE_S = 120.0


class FaultyDiskError(Exception):
    """There can be no faulty disk here; the text says why."""


class Call(enum.IntEnum):
    """What a program does to a file; the numbers are those of ``enum call`` in the shim."""

    OPEN = 0
    READ = 1
    WRITE = 2
    SYNC = 3
    TRUNCATE = 4
    ALLOCATE = 5
    UNLINK = 6
    MAP = 7
    RENAME = 8


class Fault(NamedTuple):
    """What happens to calls; without any of these, calls are only counted.

    ``error`` is the system's number of an error, ``part_bytes`` what is read or written at most
    before that (or without an error), ``flipped_bit`` the bit of each piece that is read or written
    altered.
    """

    error: int = 0
    delay_s: float = 0.0
    hangs: bool = False
    part_bytes: int = 0
    flipped_bit: int = -1


IO_ERROR = Fault(errno.EIO)
HANG = Fault(hangs=True)


class Traffic(NamedTuple):
    """What was done to a file so far."""

    calls: dict[Call, int]
    bytes_read: int
    bytes_written: int


class _Rule(ctypes.Structure):
    """``struct rule``."""

    _fields_ = (
        ("active", ctypes.c_int32),
        ("calls", ctypes.c_uint32),
        ("error", ctypes.c_int32),
        ("hangs", ctypes.c_int32),
        ("delay_us", ctypes.c_int64),
        ("part_bytes", ctypes.c_int64),
        ("flipped_bit", ctypes.c_int64),
        ("passed", ctypes.c_int64),
        ("times", ctypes.c_int64),
        ("hits", ctypes.c_int64),
        ("waiting", ctypes.c_int64),
        ("pattern", ctypes.c_char * NAME_BYTES),
    )


class _File(ctypes.Structure):
    """``struct file``."""

    _fields_ = (
        ("name", ctypes.c_char * NAME_BYTES),
        ("calls", ctypes.c_int64 * len(Call)),
        ("bytes_read", ctypes.c_int64),
        ("bytes_written", ctypes.c_int64),
    )


class _Table(ctypes.Structure):
    """``struct table``."""

    _fields_ = (
        ("size", ctypes.c_uint64),
        ("clock_step_s", ctypes.c_int64),
        ("directory", ctypes.c_char * DIRECTORY_BYTES),
        ("rules", _Rule * RULES),
        ("files", _File * FILES),
    )


class Disturbance:
    """A fault that is at work until it is healed."""

    def __init__(self, rule: _Rule) -> None:
        self._rule = rule

    @property
    def hits(self) -> int:
        """How many calls it has disturbed."""
        return int(self._rule.hits)

    @property
    def waiting(self) -> int:
        """How many calls wait in it at present."""
        return int(self._rule.waiting)

    def wait_for_hits(self, count: int = 1) -> None:
        """Wait until it has disturbed so many calls.

        Raises:
            TimeoutError: nothing made them.

        """
        _wait_until(lambda: self.hits >= count, f"no call was disturbed {count} times")

    def heal(self) -> None:
        """Let calls pass, also those that hang."""
        self._rule.active = 0
        _wait_until(lambda: self.waiting == 0, "a disturbed call does not return")


class FaultyDisk:
    """The files in a directory, for programs that are started with ``environment``."""

    def __init__(self, directory: Path, library: Path, table: Path) -> None:
        """Make the table, in a file that is outside of the directory."""
        self.directory = directory.resolve()
        with table.open("w+b") as file:
            file.truncate(ctypes.sizeof(_Table))
            self._table = _Table.from_buffer(mmap.mmap(file.fileno(), ctypes.sizeof(_Table)))
        self._table.directory = str(self.directory).encode()
        self._table.size = ctypes.sizeof(_Table)
        self.environment = {"LD_PRELOAD": str(library), "FAULTY_DISK_TABLE": str(table)}

    def disturb(
        self, pattern: str, *calls: Call, fault: Fault, after: int = 0, times: int = ALWAYS
    ) -> Disturbance:
        """Disturb calls on the files whose names match, after so many calls and so many times.

        The name of a file is its path within the directory, and that of the directory is ``.``.
        """
        rule = next(rule for rule in self._table.rules if not rule.active and not rule.waiting)
        rule.calls = sum(1 << call for call in calls)
        rule.error, rule.hangs = fault.error, fault.hangs
        rule.delay_us = round(fault.delay_s * 1e6)
        rule.part_bytes, rule.flipped_bit = fault.part_bytes, fault.flipped_bit
        rule.passed, rule.times, rule.hits = after, times, 0
        rule.pattern = pattern.encode()
        # Last: from now on the shim reads the others.
        rule.active = 1
        return Disturbance(rule)

    def step_clock(self, seconds: int) -> None:
        """Let the wall clock of the programs be so much ahead of the machine's, or behind it."""
        self._table.clock_step_s = seconds

    def heal(self) -> None:
        """End all faults."""
        for rule in self._table.rules:
            rule.active = 0

    def forget_the_dead(self) -> None:
        """Heal after a program was killed, whose calls never return."""
        self.heal()
        for rule in self._table.rules:
            rule.waiting = 0

    def traffic(self, name: str) -> Traffic:
        """Return what was done to a file."""
        for file in self._table.files:
            if file.name == name.encode():
                calls = dict(zip(Call, file.calls, strict=True))
                return Traffic(calls, file.bytes_read, file.bytes_written)
        return Traffic(dict.fromkeys(Call, 0), 0, 0)

    def bytes_written(self) -> int:
        """Return how many bytes were written to all files."""
        return sum(file.bytes_written for file in self._table.files)


def find_compiler() -> str | None:
    """Return the path of a C compiler, if there is one."""
    return next(filter(None, map(shutil.which, COMPILERS)), None)


def build(directory: Path) -> Path:
    """Compile the shim into a directory, and return the library.

    Raises:
        FaultyDiskError: there is no compiler, or it fails.

    """
    compiler = find_compiler()
    if compiler is None:
        raise FaultyDiskError("a faulty disk needs a C compiler: install gcc or clang")
    library = directory / "faulty_disk.so"
    done = subprocess.run(  # noqa: S603  # a compiler of the system
        [compiler, *COMPILE, "-o", library, SHIM, "-ldl"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise FaultyDiskError(f"{compiler} cannot build {SHIM.name}: {done.stderr.strip()}")
    return library


def _wait_until(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(POLL_S)
