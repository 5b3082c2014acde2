"""Standard error of a real process: a pipe that nobody reads, a reader that left, a full disk."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from riptide.process.standard_error import dropped_lines
from tests.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

PIPE_BYTES = 4096
LINES = 1000
BEGIN = """
import sys
from riptide.process import standard_error
standard_error.never_wait(lambda count: f"{count} lines are missing here")
"""
# For a process whose lines somebody reads, however slow the machine is.
PATIENT = f"{BEGIN}standard_error.FINISH_S = {DEADLINE_S}\n"
# Lets few lines wait, writes more than fit into them and the pipe, and says so on standard output.
FLOOD = f"""
standard_error.MAX_LINES = 20
for number in range({LINES}):
    print(f"line {{number:04}}", "x" * 50, file=sys.stderr)
print("written", flush=True)
"""
THEN = """
sys.stdin.readline()
# Somebody reads now, so that there is room.
sys.stderr.finish()
print("the last", file=sys.stderr)
"""


class Process:
    """A Python program whose standard error is a small pipe that is read only on request."""

    def __init__(self, program: str, *, nonblocking: bool = False) -> None:
        self.reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(writing, not nonblocking)
        self.process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=writing,
        )
        os.close(writing)

    def wait_for_line(self) -> bytes:
        """Wait until the program has printed a line on standard output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def go_on(self) -> None:
        """Let the program's next ``sys.stdin.readline()`` return."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def read_all(self) -> list[str]:
        """Read standard error until the program has ended."""
        with open(self.reading, encoding="utf-8", closefd=False) as pipe:
            return pipe.read().splitlines()

    def end(self) -> int:
        return self.process.wait(DEADLINE_S)


@contextlib.contextmanager
def _running(program: str, *, nonblocking: bool = False) -> Iterator[Process]:
    running = Process(program, nonblocking=nonblocking)
    try:
        yield running
    finally:
        running.process.kill()
        with running.process, contextlib.suppress(OSError):
            os.close(running.reading)


@pytest.mark.parametrize("nonblocking", [False, True])
def test_nobody_waits_for_a_reader_that_has_stopped_and_what_is_dropped_is_said_in_its_place(
    *, nonblocking: bool
) -> None:
    with _running(PATIENT + FLOOD + THEN, nonblocking=nonblocking) as running:
        assert running.wait_for_line() == b"written\n"
        running.go_on()
        lines = running.read_all()
        assert running.end() == 0
    said = [index for index, line in enumerate(lines) if line.endswith(" lines are missing here")]
    kept = [line for line in lines if line.startswith("line ")]
    assert kept == sorted(kept)
    assert len(kept) + sum(int(lines[index].split()[0]) for index in said) == LINES
    # The first gap stands between the lines around it.
    before, after = lines[said[0] - 1], lines[said[0] + 1]
    gap = int(lines[said[0]].split()[0])
    following = LINES if after == "the last" else int(after.split()[1])
    assert int(before.split()[1]) + gap + 1 == following
    assert lines[-1] == "the last"


def test_a_process_ends_although_nobody_reads_what_it_has_written() -> None:
    with _running(BEGIN + FLOOD) as running:
        assert running.wait_for_line() == b"written\n"
        assert running.end() == 0


def test_everything_is_written_at_the_end_if_somebody_reads() -> None:
    program = f"{PATIENT}for number in range(500): print(number, file=sys.stderr)\n1 / 0"
    with _running(program) as running:
        lines = running.read_all()
    assert lines[:500] == [str(number) for number in range(500)]
    assert lines[-1] == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    "say",
    [
        "threading.Thread(target=lambda: 1 / 0).start()",
        "warnings.warn('x' * 100)",
        "logging.getLogger('nobody.handles').warning('x' * 100)",
        "traceback.print_stack()",
        # An exception that nobody can catch.
        "type('Failing', (), {'__del__': lambda self: 1 / 0})()",
    ],
)
def test_no_writer_of_python_waits_for_a_reader_that_has_stopped(say: str) -> None:
    program = (
        f"import logging, threading, traceback, warnings\n{BEGIN}"
        f"warnings.simplefilter('always')\nfor _ in range(200): {say}\nprint('written', flush=True)"
    )
    with _running(program) as running:
        assert running.wait_for_line() == b"written\n"
        assert running.end() == 0


def test_a_reader_that_has_gone_costs_lines_and_nothing_else() -> None:
    program = (
        f"{PATIENT}sys.stdin.readline()\nprint('to nobody', file=sys.stderr)\n"
        "sys.stderr.finish()\nprint(standard_error.dropped_lines(), flush=True)"
    )
    with _running(program) as running:
        os.close(running.reading)
        running.go_on()
        assert running.wait_for_line() == b"1\n"
        assert running.end() == 0


def test_lines_that_a_full_disk_does_not_take_are_counted() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        program = (
            f"{PATIENT}print('one', file=sys.stderr)\nprint('two', file=sys.stderr)\n"
            "sys.stderr.finish()\nprint(standard_error.dropped_lines())"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], stderr=full, stdout=subprocess.PIPE, check=True
        )
    assert done.stdout == b"2\n"


def test_a_line_torn_by_a_full_disk_does_not_run_into_the_next_one(tmp_path: Path) -> None:
    program = (
        f"import resource, signal\n{PATIENT}"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))\n"
        "print('x' * 90, file=sys.stderr)\nprint('y' * 90, file=sys.stderr)\n"
        "sys.stderr.finish()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)\n"
        "print('there is room', file=sys.stderr)"
    )
    with (tmp_path / "log").open("w") as log:
        subprocess.run([sys.executable, "-c", program], stderr=log, check=True)
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines == ["x" * 90, "y" * 9, "1 lines are missing here", "there is room"]


def test_a_line_that_is_written_in_pieces_by_several_threads_stays_whole() -> None:
    program = (
        f"import threading\n{PATIENT}"
        "def say(word):\n"
        "    for _ in range(200):\n"
        "        for piece in (word, word, '\\n'): sys.stderr.write(piece)\n"
        "for word in ('a', 'b', 'c'): threading.Thread(target=say, args=(word,)).start()"
    )
    with _running(program) as running:
        assert sorted(running.read_all()) == ["aa"] * 200 + ["bb"] * 200 + ["cc"] * 200


def test_a_line_without_an_end_is_written_at_the_end() -> None:
    with _running(f"{PATIENT}sys.stderr.write('begun')") as running:
        assert running.read_all() == ["begun"]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_text_that_the_encoding_lacks_is_escaped(encoding: str) -> None:
    program = f"{PATIENT}print('é \\udcff', file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    )
    expected = {"utf-8": "é \\udcff\n".encode(), "ascii": b"\\xe9 \\udcff\n"}
    assert done.stderr == expected[encoding]


def test_a_closed_standard_error_is_replaced_by_one_that_leads_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "data"
    program = (
        f"{PATIENT}data = open({str(file)!r}, 'w')\nprint('said', file=sys.stderr)\n"
        "sys.stderr.finish()\nassert data.fileno() != 2"
    )
    subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", program], check=True
    )
    assert file.read_text() == ""


def test_a_process_that_prints_as_usual_has_dropped_nothing() -> None:
    assert dropped_lines() == 0
