"""Waiting for what is about to happen, without guessing how long it takes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

T = TypeVar("T")

# When a test gives up. The slowest step is the start of a service: 1 s, and 10 s with the load of
# 13 on 2 cores; ten times that is only ever waited for when something is wrong. pytest ends a test
# that hangs elsewhere after `timeout` in pyproject.toml.
DEADLINE_S: Final = 120.0


async def eventually(condition: Callable[[], T | None], what: str | Callable[[], object] = "") -> T:
    """Return the first true answer to the condition; fail, and say what with, if none comes.

    For what other tasks of this event loop do.
    """
    deadline = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, _in_vain(what)
        await asyncio.sleep(0.001)
    return found


def wait_until(
    condition: Callable[[], T | None],
    what: str | Callable[[], object] = "",
    *,
    pause_s: float = 0.02,
) -> T:
    """Return the first true answer to the condition; fail, and say what with, if none comes.

    For what other threads and processes do; ``pause_s`` is between two looks.
    """
    deadline = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, _in_vain(what)
        time.sleep(pause_s)
    return found


def _in_vain(what: str | Callable[[], object]) -> str:
    return f"what was waited for did not happen: {what() if callable(what) else what}"


async def in_time(awaitable: Awaitable[T]) -> T:
    """Return what comes of it; fail if nothing ever does."""
    return await asyncio.wait_for(awaitable, DEADLINE_S)


@contextlib.contextmanager
def time_flies() -> Iterator[None]:
    """Let timers of the running event loop be due as soon as there is nothing else to do.

    What waits takes no time, and what is ready always comes before a timer, however slow the
    machine is. Not for tests that wait for sockets, threads or processes: nobody waits for these.
    """
    loop: Any = asyncio.get_running_loop()
    real_time, select, skipped_s = loop.time, loop._selector.select, 0.0

    def skip(timeout: float | None) -> Any:
        nonlocal skipped_s
        if timeout is None:
            return select(None)
        skipped_s += timeout
        return select(0)

    loop.time = lambda: real_time() + skipped_s
    loop._selector.select = skip
    try:
        yield
    finally:
        # The time stays as late as it is: the timers that are left count on it.
        loop._selector.select = select


async def turns(count: int = 20) -> None:
    """Let the event loop run what is ready, several times over."""
    for _ in range(count):
        await asyncio.sleep(0)
