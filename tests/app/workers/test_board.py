from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from riptide.errors import StartError
from riptide.workers.board import Board, make_board

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKER_2 = """
import sys
from riptide.workers.board import Board
board = Board(int(sys.argv[1]))
board.show_port(2, 9002)
board.beat(2)
board.beat(2)
"""


@pytest.fixture
def board() -> Iterator[Board]:
    board = make_board(3)
    yield board
    os.close(board.descriptor)


def test_what_one_process_shows_every_other_one_sees(board: Board) -> None:
    assert board.ports() == {}
    command = [sys.executable, "-c", WORKER_2, str(board.descriptor)]
    subprocess.run(command, pass_fds=[board.descriptor], check=True)
    assert board.ports() == Board(board.descriptor).ports() == {2: 9002}
    assert [board.beats(slot) for slot in range(3)] == [0, 0, 2]


def test_clearing_a_slot_leaves_its_neighbours_alone(board: Board) -> None:
    for slot in range(3):
        board.show_port(slot, 9000 + slot)
        board.beat(slot)
    board.clear(1)
    assert board.ports() == {0: 9000, 2: 9002}
    assert [board.beats(slot) for slot in range(3)] == [1, 0, 1]


def test_no_directory_has_the_board(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    # Elsewhere than on Linux, the file has lost its name at once.
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr(tempfile, "tempdir", None)
    other = make_board(1)
    for each in (board, other):
        assert os.fstat(each.descriptor).st_nlink == 0
    os.close(other.descriptor)


def test_a_system_that_gives_no_memory_is_told_in_one_line() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        with pytest.raises(StartError, match="cannot share memory among workers"):
            make_board(1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
