"""Runs background tasks for as long as the service serves."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine


@contextlib.asynccontextmanager
async def beside(*background: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run the coroutines as tasks; at the end, cancel the tasks and wait until they have ended."""
    tasks = [asyncio.create_task(each) for each in background]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
