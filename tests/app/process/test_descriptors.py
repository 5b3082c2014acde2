from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from riptide.process import descriptors
from tests.waiting import DEADLINE_S, eventually, time_flies

if TYPE_CHECKING:
    from collections.abc import Iterator

# A limit that has been lowered for good is best lowered in a process of its own.
ROOM = """
import logging, resource
from riptide.process import descriptors
logging.basicConfig(format="%(levelname)s %(message)s")
print(descriptors.room_for(10_000), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@contextlib.contextmanager
def _soft_limit(limit: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _lowest_free() -> int:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    return descriptor


def _room(limits: str) -> tuple[list[int], str]:
    """Return the room for 10,000 streams, and the limits, of a process that a shell has limited."""
    done = subprocess.run(
        ["sh", "-c", f'{limits} && exec "$0" -c "$1"', sys.executable, ROOM],
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
    )
    return [int(number) for number in done.stdout.split()], done.stderr


def test_the_limit_is_raised_as_far_as_it_goes() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with _soft_limit(min(hard, 100)):
        assert descriptors.raise_limit() == hard
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
        assert descriptors.raise_limit() == hard


def test_a_limit_that_the_system_will_not_give_is_left_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("current limit exceeds maximum limit")

    with _soft_limit(100):
        monkeypatch.setattr(resource, "setrlimit", refuse)
        assert descriptors.raise_limit() == 100
        monkeypatch.undo()


def test_a_low_limit_is_raised_and_nothing_is_said_where_it_then_suffices() -> None:
    (room, soft, hard), said = _room("ulimit -S -n 64 && ulimit -H -n 10128")
    assert (room, soft, hard) == (10_000, 10_128, 10_128)
    assert said == ""


@pytest.mark.parametrize(("limit", "room"), [(10_127, 9_999), (1024, 896), (64, 16), (20, 1)])
def test_where_there_are_too_few_it_is_said_in_a_line_how_many_and_how_many_it_takes(
    limit: int, room: int
) -> None:
    numbers, said = _room(f"ulimit -n {limit}")
    assert numbers == [room, limit, limit]
    assert said.startswith("WARNING RIPTIDE_MAX_CONNECTIONS is 10000, ")
    assert said.count("\n") == 1
    assert f"may open {limit} files only: it will serve {room} streams" in said
    assert "to 10128 or more (LimitNOFILE=" in said


def test_a_descriptor_says_how_many_are_left_above_it() -> None:
    with _soft_limit(200):
        assert descriptors.left_above(199) == 0
        assert descriptors.left_above(150) == 49


async def test_it_is_said_once_when_they_have_run_out_and_again_the_next_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    descriptors.raise_limit()
    watch = asyncio.create_task(descriptors.watch())
    few = _lowest_free() + descriptors.LAST + 1
    with time_flies():
        for times in (1, 2):
            await asyncio.sleep(3 * descriptors.WATCH_INTERVAL_S)
            assert len(caplog.messages) == times - 1
            # One file more, and only the last ones are left.
            with _soft_limit(few), socket.socket():
                await asyncio.sleep(3 * descriptors.WATCH_INTERVAL_S)
            assert len(caplog.messages) == times
    assert f"nearly all {few} files that this process may open are open" in caplog.messages[0]
    watch.cancel()


async def test_having_none_at_all_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    with _soft_limit(_lowest_free()):
        watch = asyncio.create_task(descriptors.watch())
        await eventually(lambda: caplog.messages)
    watch.cancel()
