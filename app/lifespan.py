"""What starts before the first request and ends after the last."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.applications import Starlette

    from app.log.message_log import MessageLog
    from app.streaming.drain import Drain
    from app.streaming.heartbeat import Heartbeat
    from telemetry import EventLoopMonitor, Telemetry


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Open the log and run the background tasks while the application serves.

    Raises:
        StartError: the log cannot be opened.

    """
    log: MessageLog = app.state.log
    heartbeat: Heartbeat = app.state.heartbeat
    monitor: EventLoopMonitor = app.state.event_loop_monitor
    drain: Drain = app.state.drain
    telemetry: Telemetry = app.state.telemetry
    await log.open()
    tasks = [asyncio.create_task(heartbeat.run()), asyncio.create_task(monitor.run())]
    # What is here now stays; the collector need not look at it with every stream.
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        # Under our server the drain is over by now; under another one this is it.
        await drain.run()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await log.close()
        await asyncio.to_thread(telemetry.shutdown)
