"""The lifespan of the service: starts before the first request, ends after the last."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from riptide.process import descriptors
from riptide.process.allocator import give_back_regularly
from riptide.process.background import beside
from riptide.process.interpreter import tuned_for_streams
from riptide.process.log_records import handled_by

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from riptide.service import Service

logger = logging.getLogger("riptide.telemetry")


@contextlib.asynccontextmanager
async def lifespan(service: Service) -> AsyncIterator[None]:
    """Open the log and run the background tasks while the application serves.

    Raises:
        StartError: the log cannot be opened, or a file of keys cannot be used.

    """
    telemetry, streams = service.telemetry, service.streams
    # Fewer streams than configured are better than clients without a stream and without an answer.
    streams.limit = descriptors.room_for(streams.limit)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, telemetry.shutdown)
        stack.enter_context(handled_by(telemetry.log_handler))
        await service.gate.open()
        await service.log.open()
        stack.push_async_callback(service.log.close)
        background = beside(
            service.heartbeat.run(),
            service.event_loop_monitor.run(),
            service.gate.run(),
            give_back_regularly(),
            descriptors.watch(),
        )
        await stack.enter_async_context(background)
        # Under our own server the drain is over before this; under another server it runs here.
        stack.push_async_callback(service.drain.run)
        stack.enter_context(tuned_for_streams())
        # Only now, so that a start that fails says nothing but why.
        for remark in telemetry.remarks:
            logger.warning("%s", remark)
        yield
