"""Waiting for what is about to happen, without guessing how long it takes."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE_S = 10.0


async def eventually(condition: Callable[[], object]) -> None:
    """Return when the condition holds; fail if it does not in good time."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        await asyncio.sleep(0.001)


async def turns(count: int = 20) -> None:
    """Let the event loop run what is ready, several times over."""
    for _ in range(count):
        await asyncio.sleep(0)
