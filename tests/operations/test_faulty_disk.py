"""The bad disk does to a real program what a test asks for, and nothing else."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from operations.faulty_disk import disk as faulty_disk
from operations.faulty_disk.disk import (
    ANY,
    DATABASE,
    HANG,
    IO_ERROR,
    WAL,
    Call,
    Fault,
    FaultyDisk,
    FaultyDiskError,
    build,
)
from tests.faulty_disk import built_shim
from tests.waiting import DEADLINE_S

if TYPE_CHECKING:
    from pathlib import Path

# Makes each call on a file of its own, and says which error it met.
EACH_CALL = """
import errno, mmap, os
descriptor = os.open("sound", os.O_RDWR | os.O_CREAT)
os.write(descriptor, b"content")
def meet(name, call):
    try:
        call()
        print(name, "fine")
    except OSError as error:
        print(name, errno.errorcode[error.errno])
meet("OPEN", lambda: os.open(os.path.abspath("new"), os.O_RDWR | os.O_CREAT))
meet("READ", lambda: os.pread(descriptor, 7, 0))
meet("WRITE", lambda: os.pwrite(descriptor, b"content", 0))
meet("SYNC", lambda: os.fsync(descriptor))
meet("SYNC", lambda: os.fdatasync(descriptor))
meet("TRUNCATE", lambda: os.ftruncate(descriptor, 7))
meet("ALLOCATE", lambda: os.posix_fallocate(descriptor, 0, 7))
meet("MAP", lambda: mmap.mmap(descriptor, 7))
meet("RENAME", lambda: os.rename(os.path.abspath("sound"), os.path.abspath("some")))
open(os.path.abspath("more"), "w").close()
meet("UNLINK", lambda: os.unlink(os.path.abspath("more")))
"""
# Commits ten rows to SQLite, and says what came of each.
COMMIT = """
import os, sqlite3
connection = sqlite3.connect(os.path.abspath("riptide.db"), isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("PRAGMA synchronous = FULL")
connection.execute("CREATE TABLE t (x)")
for n in range(10):
    try:
        connection.execute("INSERT INTO t VALUES (?)", (n,))
        print("committed", flush=True)
    except sqlite3.Error as error:
        print(error.sqlite_errorname, flush=True)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_shim(tmp_path_factory)


@pytest.fixture
def disk(library: Path, tmp_path: Path) -> FaultyDisk:
    directory = tmp_path / "disk"
    directory.mkdir()
    return FaultyDisk(directory, library, tmp_path / "table")


def _start(disk: FaultyDisk, program: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env=disk.environment,
        cwd=disk.directory,
        stdout=subprocess.PIPE,
        text=True,
    )


def _output(disk: FaultyDisk, program: str) -> list[str]:
    output, _ = _start(disk, program).communicate(timeout=DEADLINE_S)
    return output.splitlines()


def test_without_faults_a_program_meets_none(disk: FaultyDisk) -> None:
    assert {line.partition(" ")[2] for line in _output(disk, EACH_CALL)} == {"fine"}


@pytest.mark.parametrize("call", Call)
def test_a_fault_meets_the_calls_that_it_names_and_no_others(disk: FaultyDisk, call: Call) -> None:
    pattern = "new" if call is Call.OPEN else "[sm]o*"
    disturbance = disk.disturb(pattern, call, fault=Fault(errno.EROFS))
    for line in _output(disk, EACH_CALL):
        name, _, met = line.partition(" ")
        assert met == ("EROFS" if name == call.name else "fine"), line
    assert disturbance.hits >= 1


def test_files_elsewhere_are_never_disturbed(disk: FaultyDisk, tmp_path: Path) -> None:
    disturbance = disk.disturb(ANY, *Call, fault=IO_ERROR)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("content")
    program = f"print(open({str(elsewhere)!r}).read())"
    assert _output(disk, program) == ["content"]
    assert disturbance.hits == 0


def test_a_fault_may_come_late_and_end_by_itself(disk: FaultyDisk) -> None:
    disk.disturb(WAL, Call.SYNC, fault=IO_ERROR, after=4, times=2)
    assert _output(disk, COMMIT).count("SQLITE_IOERR_FSYNC") == 2


def test_a_call_that_hangs_returns_once_the_fault_is_healed(disk: FaultyDisk) -> None:
    hang = disk.disturb(WAL, Call.SYNC, fault=HANG, after=1)
    program = _start(disk, COMMIT)
    hang.wait_for_hits()
    assert program.poll() is None
    assert hang.waiting == 1
    hang.heal()
    output, _ = program.communicate(timeout=DEADLINE_S)
    assert output.split() == ["committed"] * 10


def test_a_delay_is_as_long_as_was_asked_for(disk: FaultyDisk) -> None:
    disk.disturb(ANY, Call.SYNC, fault=Fault(delay_s=0.05), times=2)
    program = (
        "import os, time\n"
        "descriptor = os.open('file', os.O_RDWR | os.O_CREAT)\n"
        "for _ in range(3):\n"
        "    begun = time.monotonic(); os.fsync(descriptor); print(time.monotonic() - begun)"
    )
    seconds = [float(line) for line in _output(disk, program)]
    assert min(seconds[:2]) >= 0.05


def test_a_write_is_short_torn_or_altered_as_asked_for(disk: FaultyDisk) -> None:
    program = (
        "import os\n"
        "descriptor = os.open('file', os.O_RDWR | os.O_CREAT)\n"
        "print(os.pwrite(descriptor, b'aaaa', 0))\n"
        "try: os.pwrite(descriptor, b'bbbb', 4)\n"
        "except OSError as error: print(error.errno)\n"
        "print(os.pwrite(descriptor, b'cccc', 8))"
    )
    disk.disturb("file", Call.WRITE, fault=Fault(part_bytes=3), times=1)
    disk.disturb("file", Call.WRITE, fault=Fault(errno.EIO, part_bytes=2), after=1, times=1)
    disk.disturb("file", Call.WRITE, fault=Fault(flipped_bit=8), after=2)
    assert _output(disk, program) == ["3", str(errno.EIO), "4"]
    assert (disk.directory / "file").read_bytes() == b"aaa\0bb\0\0cbcc"


def test_what_is_read_is_altered_and_the_file_stays_as_it_is(disk: FaultyDisk) -> None:
    (disk.directory / "file").write_bytes(b"abc")
    disk.disturb("file", Call.READ, fault=Fault(flipped_bit=0))
    program = "import os; print(os.pread(os.open('file', os.O_RDONLY), 3, 0).decode())"
    assert _output(disk, program) == ["`bc"]
    assert (disk.directory / "file").read_bytes() == b"abc"


def test_calls_and_bytes_of_each_file_are_counted(disk: FaultyDisk) -> None:
    assert _output(disk, COMMIT) == ["committed"] * 10
    wal = disk.traffic(WAL)
    assert wal.calls[Call.SYNC] >= 10
    assert wal.bytes_written >= 10 * 4096
    assert disk.bytes_written() >= wal.bytes_written + disk.traffic(DATABASE).bytes_written


def test_the_wall_clock_is_wrong_by_what_is_said_and_no_other_clock(disk: FaultyDisk) -> None:
    program = "import time; print(int(time.time()), int(time.monotonic()))"
    disk.step_clock(86_400)
    wall, monotonic = map(int, _output(disk, program)[0].split())
    assert wall - time.time() == pytest.approx(86_400, abs=60)
    assert monotonic == pytest.approx(time.monotonic(), abs=60)


def test_without_a_compiler_the_reason_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FaultyDiskError, match="needs a C compiler"):
        build(tmp_path)


def test_what_the_compiler_complains_of_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: Path
) -> None:
    assert library.exists()
    wrong = tmp_path / "wrong.c"
    wrong.write_text("int main(")
    monkeypatch.setattr(faulty_disk, "SHIM", wrong)
    with pytest.raises(FaultyDiskError, match=r"wrong\.c"):
        build(tmp_path)
