"""What starts before the first request and ends after the last."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from typing import TYPE_CHECKING

from riptide.process import descriptors
from riptide.process.allocator import give_back_regularly
from riptide.process.background import beside
from riptide.process.log_records import handled_by

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.applications import Starlette

    from riptide.access.gate import Gate
    from riptide.storage.message_log import MessageLog
    from riptide.streaming.drain import Drain
    from riptide.streaming.heartbeat import Heartbeat
    from riptide.streaming.streams import Streams
    from riptide_telemetry import EventLoopMonitor, Telemetry


SWITCH_INTERVAL_S = 0.0005
# A stream is 91 objects that the collector of cycles looks at, and none of them garbage. While
# 5,000 connected, the interpreter's own thresholds (700, 10, 10) made it pause for 185 ms at most
# and 550 ms in all, these for 13 ms and 120 ms, and connecting was 1.6 times as fast.
COLLECTOR_THRESHOLDS = (5_000, 10, 50)


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Open the log and run the background tasks while the application serves.

    Raises:
        StartError: the log cannot be opened, or the keys of tokens are not there.

    """
    log: MessageLog = app.state.log
    gate: Gate = app.state.gate
    heartbeat: Heartbeat = app.state.heartbeat
    monitor: EventLoopMonitor = app.state.event_loop_monitor
    drain: Drain = app.state.drain
    telemetry: Telemetry = app.state.telemetry
    streams: Streams = app.state.streams
    # Fewer than are asked for, rather than some that get neither a stream nor an answer.
    streams.limit = descriptors.room_for(streams.limit)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, telemetry.shutdown)
        stack.enter_context(handled_by(telemetry.log_handler))
        await gate.open()
        await log.open()
        stack.push_async_callback(log.close)
        background = beside(
            heartbeat.run(),
            monitor.run(),
            gate.run(),
            give_back_regularly(),
            descriptors.watch(),
        )
        await stack.enter_async_context(background)
        # Under our server the drain is over by then; under another one this is it.
        stack.push_async_callback(drain.run)
        # A scrape works on a thread of its own: it is to hold the loop up in small pieces.
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        # What is here now stays; the collector need not look at it with every stream.
        gc.collect()
        gc.freeze()
        stack.callback(gc.set_threshold, *gc.get_threshold())
        gc.set_threshold(*COLLECTOR_THRESHOLDS)
        yield
