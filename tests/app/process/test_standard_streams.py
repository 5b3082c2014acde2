"""The standard descriptors of a process that was started without some of them."""

from __future__ import annotations

import subprocess
import sys
from itertools import chain, combinations

import pytest

PROGRAM = """
import os, socket, sys
from riptide.process import standard_streams
standard_streams.open_closed()
found = [os.fstat(number).st_rdev for number in range(3)]
null = os.stat(os.devnull).st_rdev
listener = socket.create_server(("127.0.0.1", 0))
sys.stderr.write("a log record")
child = os.spawnlp(os.P_WAIT, "sh", "sh", "-c", "true <&0 && true >&1 && true >&2")
closed = {closed}
ok = (
    listener.fileno() > 2
    and all((found[number] == null) == (number in closed) for number in range(3))
    and child == 0
)
os._exit(0 if ok else 1)
"""
SOME = list(chain.from_iterable(combinations(range(3), count) for count in range(4)))


@pytest.mark.parametrize("closed", SOME, ids=str)
def test_a_descriptor_that_is_closed_leads_nowhere_and_belongs_to_nothing_else(
    closed: tuple[int, ...],
) -> None:
    shut = " ".join(f"{number}>&-" for number in closed)
    command = f'exec "$0" -c "$1" {shut}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, PROGRAM.format(closed=closed)],
        stdin=subprocess.PIPE,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr == (b"" if 2 in closed else b"a log record")
