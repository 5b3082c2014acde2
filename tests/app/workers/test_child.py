"""One child of the supervisor, with real processes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from riptide.workers.child import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    LOOKS_BEFORE_FIRST_SIGN,
    LOOKS_WITHOUT_SIGN,
    STEADY_S,
    Child,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def _child(program: str) -> Child:
    return Child("child", [sys.executable, "-c", program])


def _reap(child: Child, now: float) -> tuple[int, str]:
    assert child.pid
    _, status = os.waitpid(child.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return code, child.ended(code, now)


@pytest.fixture
def idle() -> Iterator[Child]:
    child = _child("import sys; sys.stdin.read()")
    child.start(now=0)
    yield child
    if child.pid:
        child.send(signal.SIGKILL)
        _reap(child, 0)


def test_a_child_that_cannot_start_gives_the_reason_on_its_lifeline() -> None:
    child = _child("import os; os.write(0, 'no rôom'.encode()); raise SystemExit(3)")
    child.start(now=0)
    assert _reap(child, 0) == (3, "no rôom")
    assert child.pid is None


def test_a_child_that_gives_no_reason_is_not_waited_for(idle: Child) -> None:
    idle.send(signal.SIGKILL)
    assert _reap(idle, 0) == (-signal.SIGKILL, "")


def test_a_child_that_lived_long_is_replaced_at_once_and_others_after_longer_pauses() -> None:
    child = _child("")
    pauses = []
    for lived_s in (0, 0, 0, 0, 0, 0, STEADY_S, 0):
        child.start(now=100)
        _reap(child, 100 + lived_s)
        pauses.append(child.due - 100 - lived_s)
    assert pauses == [1, 2, 4, 8, 16, LONGEST_PAUSE_S, 0, FIRST_PAUSE_S]


def test_a_child_whose_signs_of_life_cease_hangs_and_is_said_so_once(idle: Child) -> None:
    looks = [idle.hangs(signs) for signs in (1, 2, *[3] * (LOOKS_WITHOUT_SIGN + 5))]
    assert looks.index(True) == 2 + LOOKS_WITHOUT_SIGN
    assert looks.count(True) == 1


def test_a_sign_of_life_at_the_last_moment_is_in_time(idle: Child) -> None:
    assert not any(idle.hangs(signs) for signs in range(1, 4) for _ in range(LOOKS_WITHOUT_SIGN))


def test_a_child_has_more_time_for_its_first_sign_of_life(idle: Child) -> None:
    looks = [idle.hangs(0) for _ in range(LOOKS_BEFORE_FIRST_SIGN)]
    assert looks.index(True) == LOOKS_BEFORE_FIRST_SIGN - 1 > LOOKS_WITHOUT_SIGN


def test_a_new_process_is_not_judged_by_the_looks_at_the_last_one(idle: Child) -> None:
    for _ in range(LOOKS_WITHOUT_SIGN):
        idle.hangs(7)
    idle.send(signal.SIGKILL)
    _reap(idle, 0)
    idle.start(now=0)
    assert not any(idle.hangs(7) for _ in range(LOOKS_WITHOUT_SIGN))


def test_a_program_that_is_gone_leaves_nothing_open() -> None:
    child = Child("child", ["/nonexistent/program"])
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(FileNotFoundError):
        child.start(now=0)
    assert child.pid is None
    child.send(signal.SIGTERM)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
