"""The supervisor in a process of its own, over small programs and over real workers.

What real workers serve is tested in integration/test_workers.py.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from riptide.workers.board import make_board
from riptide.workers.child import LOOKS_WITHOUT_SIGN, Child
from riptide.workers.lifeline import START_FAILED
from riptide.workers.supervisor import LOOK_S, Supervisor
from tests.service import RIPTIDE
from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

CHILDREN = 3
SUPERVISOR = """
import logging, os, signal, subprocess, sys
from riptide.errors import StartError
from riptide.workers.board import make_board
from riptide.workers.child import Child
from riptide.workers.supervisor import Supervisor
logging.basicConfig(format="%(message)s")
program, children, look_s = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
# The last child keeps the log.
has_log = "log" in sys.argv
board = make_board(children)
supervised = [
    Child(f"child {slot}", [program, str(slot), str(board.descriptor)], [board.descriptor])
    for slot in range(children)
]
log = supervised.pop() if has_log else None
try:
    Supervisor(supervised, board, log=log, look_s=look_s).run()
except StartError as error:
    sys.exit(f"refused: {error}")
"""
# A child prints its slot and its pid once it serves. It writes on the board without the service's
# modules, which take a second to import.
CHILD = f"""#!{sys.executable} -S
import mmap, os, sys, time
slot = int(sys.argv[1])
board = memoryview(mmap.mmap(int(sys.argv[2]), 0)).cast("Q")
def serve():
    board[2 * slot] = 9000 + slot
    board[2 * slot + 1] = 1
    os.write(2, f"serving {{slot}} {{os.getpid()}}\\n".encode())
def live():
    while os.getppid() > 1:
        board[2 * slot + 1] += 1
        time.sleep(0.01)
"""


class Supervised:
    """A supervisor with children that run a program, and what they have printed."""

    def __init__(
        self, directory: Path, program: str, children: int, look_s: float, *, log: bool
    ) -> None:
        self.program = directory / "program"
        self.write(program)
        self._printed = directory / "printed"
        with self._printed.open("wb") as printed:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-c", SUPERVISOR, self.program),
                    *(str(children), str(look_s), *(["log"] if log else [])),
                ],
                stderr=printed,
                stdout=printed,
            )

    def write(self, program: str) -> None:
        self.program.write_text(f"{CHILD}{program}")
        self.program.chmod(0o700)

    @property
    def lines(self) -> list[str]:
        return self._printed.read_text().splitlines()

    def serving(self, slot: int) -> list[int]:
        """Return the processes that have served in a slot, one after the other."""
        return [int(line.split()[2]) for line in self.lines if line.startswith(f"serving {slot} ")]

    def wait_for(self, line: str) -> None:
        wait_until(lambda: any(line in each for each in self.lines), lambda: self.lines)

    def wait_for_all(self, children: int = CHILDREN) -> None:
        wait_until(lambda: all(self.serving(slot) for slot in range(children)), lambda: self.lines)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(DEADLINE_S)


@contextlib.contextmanager
def _supervised(
    directory: Path,
    program: str,
    children: int = CHILDREN,
    look_s: float = LOOK_S,
    *,
    log: bool = False,
) -> Iterator[Supervised]:
    supervised = Supervised(directory, program, children, look_s, log=log)
    with supervised.process:
        yield supervised
        supervised.process.kill()
    assert "Traceback" not in "".join(supervised.lines)


def test_children_that_die_together_are_all_replaced_and_no_other_one_is(tmp_path: Path) -> None:
    with _supervised(tmp_path, "serve(); live()") as supervised:
        supervised.wait_for_all()
        for slot in (0, 2):
            os.kill(supervised.serving(slot)[0], signal.SIGKILL)
        wait_until(lambda: all(len(supervised.serving(slot)) == 2 for slot in (0, 2)))
        assert len(supervised.serving(1)) == 1
        assert supervised.stop() == 0


def test_a_child_whose_signs_of_life_cease_is_killed_and_replaced(tmp_path: Path) -> None:
    with _supervised(tmp_path, "serve(); live()", look_s=0.2) as supervised:
        supervised.wait_for_all()
        os.kill(supervised.serving(0)[0], signal.SIGSTOP)
        supervised.wait_for("child 0 has ceased to give signs of life")
        wait_until(lambda: len(supervised.serving(0)) == 2)
        assert supervised.stop() == 0


def test_a_child_that_hangs_while_it_ends_is_not_waited_for_without_end(tmp_path: Path) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, lambda *_: time.sleep(1000)); serve()"
    with _supervised(tmp_path, f"{deaf}; live()", look_s=0.2) as supervised:
        supervised.wait_for_all()
        assert supervised.stop() == 0


def test_a_pause_of_any_length_counts_as_one_look_at_the_signs_of_life() -> None:
    now = 0.0
    board = make_board(1)
    child = Child("child", [sys.executable, "-c", "import time; time.sleep(1000)"])
    child.start(now)
    supervisor = Supervisor([child], board, clock=lambda: now)
    board.beat(0)
    for _ in range(LOOKS_WITHOUT_SIGN):
        # Suspended, or stopped, for an hour; nobody else has run meanwhile.
        now += 3600
        for _ in range(100):
            supervisor._look_for_signs_of_life()
    assert child.pid
    assert os.waitpid(child.pid, os.WNOHANG) == (0, 0)
    now += LOOK_S
    supervisor._look_for_signs_of_life()
    _, status = os.waitpid(child.pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    child.ended(status, now)
    os.close(board.descriptor)


def test_the_end_of_a_process_is_told_once_and_before_another_one_starts() -> None:
    board, ended = make_board(2), list[tuple[int, int | None]]()
    command = [sys.executable, "-c", "import time; time.sleep(1000)"]
    children = [Child(f"child {slot}", command) for slot in range(2)]
    for child in children:
        child.start(0.0)
    supervisor = Supervisor(
        children, board, on_end=lambda slot: ended.append((slot, children[slot].pid))
    )
    expected = [(slot, children[slot].pid) for slot in (1, 0)]

    def reaped(count: int) -> bool:
        supervisor._reap()
        return len(ended) == count

    for count, (_, pid) in enumerate(expected, 1):
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(functools.partial(reaped, count))
    assert ended == expected
    assert [child.pid for child in children] == [None, None]
    os.close(board.descriptor)


def test_processes_that_the_supervisor_has_not_started_are_reaped_and_change_nothing(
    tmp_path: Path,
) -> None:
    # A program that becomes the supervisor by ``exec`` leaves its children to it.
    program = tmp_path / "program"
    program.write_text(f"{CHILD}serve(); live()")
    program.chmod(0o700)
    starts = 'sleep 0.1 & sh -c "sleep 0.2" & exec "$@"'
    with (tmp_path / "printed").open("wb") as printed:
        process = subprocess.Popen(
            ["sh", "-c", starts, "sh", sys.executable, "-c", SUPERVISOR, program, "2", "1"],
            stderr=printed,
        )
    with process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        wait_until(lambda: (tmp_path / "printed").read_text().count("serving") == 2)
        wait_until(lambda: len(children.read_text().split()) == 2)
        process.terminate()
        assert process.wait(DEADLINE_S) == 0
    assert (tmp_path / "printed").read_text().count("\n") == 2


def test_children_that_cannot_start_end_everything_and_one_reason_is_told(tmp_path: Path) -> None:
    fails = f"os.write(0, b'no room'); sys.exit({START_FAILED})"
    with _supervised(tmp_path, fails) as supervised:
        assert supervised.process.wait(DEADLINE_S) == 1
    assert supervised.lines == ["refused: no room"]


def test_a_replacement_that_cannot_start_ends_nothing_and_is_tried_again(tmp_path: Path) -> None:
    with _supervised(tmp_path, "serve(); live()") as supervised:
        supervised.wait_for_all()
        supervised.write(f"os.write(0, b'no room'); sys.exit({START_FAILED})")
        os.kill(supervised.serving(1)[0], signal.SIGKILL)
        supervised.wait_for("child 1 ended (no room); starting another in 2 s")
        supervised.write("serve(); live()")
        wait_until(lambda: len(supervised.serving(1)) == 2)
        assert [len(supervised.serving(slot)) for slot in (0, 2)] == [1, 1]
        assert supervised.stop() == 0


def test_a_system_that_starts_no_process_is_named_and_tried_again(tmp_path: Path) -> None:
    with _supervised(tmp_path, "serve(); live()") as supervised:
        supervised.wait_for_all()
        elsewhere = supervised.program.rename(tmp_path / "elsewhere")
        os.kill(supervised.serving(1)[0], signal.SIGKILL)
        supervised.wait_for("cannot start child 1 (No such file or directory)")
        elsewhere.rename(supervised.program)
        wait_until(lambda: len(supervised.serving(1)) == 2)
        assert supervised.stop() == 0


def test_a_system_that_starts_no_process_at_all_is_told_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SUPERVISOR, str(tmp_path / "none"), "3", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("refused: cannot start child 0")
    assert done.stderr.count("\n") == 1


def test_a_terminal_that_goes_ends_the_children_in_an_orderly_way_however_often_it_says_so(
    tmp_path: Path,
) -> None:
    counting = """
import signal
def begin(*_):
    signal.signal(signal.SIGTERM, lambda *_: os.write(2, b"cut short\\n"))
    os.write(2, b"draining\\n")
    time.sleep(0.5)
    os._exit(0)
signal.signal(signal.SIGTERM, begin)
serve(); live()
"""
    with _supervised(tmp_path, counting) as supervised:
        supervised.wait_for_all()
        for _ in range(2):
            supervised.process.send_signal(signal.SIGHUP)
            supervised.wait_for("draining")
        assert supervised.process.wait(DEADLINE_S) == 0
        assert supervised.lines.count("draining") == CHILDREN
        assert "cut short" not in supervised.lines


# The child in the last slot is the process of the log.
WITH_LOG = f"""
import signal
def end(number, _frame):
    signal.signal(number, signal.SIG_IGN)
    time.sleep(0.3 * (slot + 1) if slot < {CHILDREN - 1} else 0)
    os.write(2, f"ended {{slot}} {{number}}\\n".encode())
    os._exit(0)
signal.signal(signal.SIGINT if slot == {CHILDREN - 1} else signal.SIGTERM, end)
"""


def test_the_process_of_the_log_ends_after_all_workers_by_sigint(tmp_path: Path) -> None:
    with _supervised(tmp_path, f"{WITH_LOG}serve(); live()", log=True) as supervised:
        supervised.wait_for_all()
        assert supervised.stop() == 0
        ended = [line for line in supervised.lines if line.startswith("ended")]
    assert ended == ["ended 0 15", "ended 1 15", "ended 2 2"]


def test_a_process_of_the_log_that_is_just_starting_ends_with_the_workers(tmp_path: Path) -> None:
    starting = f"if slot == {CHILDREN - 1}: live()\nserve(); live()"
    with _supervised(tmp_path, starting, log=True) as supervised:
        wait_until(lambda: all(supervised.serving(slot) for slot in range(CHILDREN - 1)))
        assert supervised.stop() == 0


def test_a_process_of_the_log_that_dies_is_replaced_and_no_worker_is(tmp_path: Path) -> None:
    with _supervised(tmp_path, f"{WITH_LOG}serve(); live()", log=True) as supervised:
        supervised.wait_for_all()
        os.kill(supervised.serving(CHILDREN - 1)[0], signal.SIGKILL)
        wait_until(lambda: len(supervised.serving(CHILDREN - 1)) == 2)
        assert [len(supervised.serving(slot)) for slot in range(CHILDREN - 1)] == [1, 1]
        assert supervised.stop() == 0


def _serve(directory: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if "RIPTIDE" not in name}
    environment |= {f"RIPTIDE_{name.upper()}": str(value) for name, value in settings.items()}
    return subprocess.run(
        [RIPTIDE, "serve"],
        env=environment,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def test_workers_that_cannot_start_end_the_service_and_one_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    done = _serve(tmp_path, port=0, workers=2, data_dir=tmp_path / "file" / "data")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("riptide: cannot write to the data directory")
    assert done.stderr.count("RIPTIDE_DATA_DIR") == 1


def test_a_port_in_use_is_named_before_any_worker_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = _serve(tmp_path, port=taken.getsockname()[1], workers=2, log="memory")
    assert done.returncode == 1
    assert "RIPTIDE_PORT" in done.stderr
    assert "drain" not in done.stderr
