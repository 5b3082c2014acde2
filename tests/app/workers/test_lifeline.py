"""The lifeline in a process of its own, with a socket as its standard input."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

# Prints a line for each sign of life; {} is what the main thread does meanwhile.
PROGRAM = """
import asyncio, os, time
from riptide.workers import lifeline
lifeline.BEAT_S = 0.01
beats = 0
def beat():
    global beats
    beats += 1
    os.write(1, b"alive\\n")
line = lifeline.Lifeline(beat)
{}
"""
TURNING = """
async def main():
    line.follow(asyncio.get_running_loop())
    while True:
        await asyncio.sleep(0.01)
asyncio.run(main())
"""
BLOCKED = """
async def main():
    line.follow(asyncio.get_running_loop())
    await more()
    os.write(1, b"blocked\\n")
    time.sleep(0.5)
    os.write(1, b"blocked no more\\n")
    await more()
async def more():
    before = beats
    while beats == before:
        await asyncio.sleep(0.01)
asyncio.run(main())
os.write(1, b"over\\n")
time.sleep(0.5)
os._exit(0)
"""


@contextlib.contextmanager
def _process(main: str) -> Iterator[tuple[subprocess.Popen[str], socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(main)],
            stdin=theirs.fileno(),
            stdout=subprocess.PIPE,
            text=True,
        )
        theirs.close()
        with process:
            yield process, ours
            process.kill()


def test_a_process_that_does_not_serve_yet_is_alive_however_busy_it_is() -> None:
    with _process("time.sleep(1000)") as (process, _):
        assert process.stdout
        assert [process.stdout.readline() for _ in range(20)] == ["alive\n"] * 20


def test_a_process_that_serves_is_alive_while_its_event_loop_turns() -> None:
    with _process(TURNING) as (process, _):
        assert process.stdout
        assert [process.stdout.readline() for _ in range(20)] == ["alive\n"] * 20


def test_an_event_loop_that_does_not_turn_gives_no_sign_of_life() -> None:
    with _process(BLOCKED) as (process, _):
        assert process.stdout
        lines = process.stdout.read().splitlines()
    blocked, turning, over = map(lines.index, ("blocked", "blocked no more", "over"))
    assert "alive" in lines[:blocked]
    assert lines[blocked + 1 : turning] == []
    assert "alive" in lines[turning:over]
    assert lines[over + 1 :] == []


def test_a_process_without_a_supervisor_ends_as_at_a_sigterm() -> None:
    with _process("time.sleep(1000)") as (process, ours):
        ours.close()
        assert process.wait(DEADLINE_S) == -signal.SIGTERM


def test_the_reason_of_a_failed_start_reaches_the_supervisor_if_there_is_one() -> None:
    with _process("line.explain('no room'); os._exit(3)") as (process, ours):
        assert process.wait(DEADLINE_S) == 3
        assert ours.recv(100) == b"no room"
    alone = "import os; os.close(0)\nline.explain('no room'); os._exit(3)"
    with _process(alone) as (process, _):
        assert process.wait(DEADLINE_S) == 3
