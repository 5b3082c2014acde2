from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

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
