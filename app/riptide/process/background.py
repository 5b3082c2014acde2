"""Runs background tasks for as long as the service serves, and reports those that fail."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping

    from riptide.process.faults import Faults
    from riptide_telemetry import ServicePart


@contextlib.asynccontextmanager
async def beside(
    faults: Faults, background: Mapping[ServicePart, Callable[[], Coroutine[Any, Any, None]]]
) -> AsyncIterator[None]:
    """Run the functions as tasks; at the end, cancel the tasks and wait until they have ended.

    A task that raises, or that somebody else cancels, is a fault of its part. A task may return:
    then it had nothing to do.
    """
    at_end = False

    def judge(part: ServicePart, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            if not at_end:
                faults.report(part, asyncio.CancelledError("the task was cancelled"))
            return
        error = task.exception()
        if error is not None:
            faults.report(part, error)

    tasks = []
    for part, run in background.items():
        task = asyncio.create_task(run(), name=f"riptide-{part}")
        task.add_done_callback(functools.partial(judge, part))
        tasks.append(task)
    try:
        yield
    finally:
        at_end = True
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
