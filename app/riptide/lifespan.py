"""The lifespan of the service: starts before the first request, ends after the last."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from typing import TYPE_CHECKING

from riptide.process import descriptors
from riptide.process.allocator import give_back_regularly
from riptide.process.background import beside
from riptide.process.fault_memory import remember_faults
from riptide.process.faults import caught_on_loop
from riptide.process.interpreter import tuned_for_streams
from riptide.process.log_records import handled_by
from riptide_telemetry import ServicePart

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
    telemetry, streams, loop = service.telemetry, service.streams, asyncio.get_running_loop()
    # Fewer streams than configured are better than clients without a stream and without an answer.
    streams.limit = descriptors.room_for(streams.limit, streams.own_limit())
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, telemetry.shutdown)
        if service.service_metrics is not None:
            stack.callback(service.service_metrics.end)
        stack.enter_context(handled_by(telemetry.log_handler))
        await service.gate.open()
        await service.log.open()
        stack.push_async_callback(service.log.close)
        if service.settings.log == "sqlite":
            remember_faults(service.faults, telemetry.lifecycle, service.settings.data_dir)
        stack.enter_context(caught_on_loop(service.faults))
        drain_soon = functools.partial(loop.call_soon_threadsafe, service.drain.begin)
        service.faults.at_first(drain_soon)
        background = {
            ServicePart.HEARTBEAT: service.heartbeat.run,
            ServicePart.EVENT_LOOP_MONITOR: service.event_loop_monitor.run,
            ServicePart.KEY_REFRESH: service.gate.run,
            ServicePart.MEMORY_TRIM: give_back_regularly,
            ServicePart.DESCRIPTOR_WATCH: descriptors.watch,
            ServicePart.LOG_WATCH: service.log.watch,
            ServicePart.LOG_LOSS: service.log_loss.run,
            ServicePart.APPEND_TIMEOUT: service.hub.refuse_overdue,
        }
        if service.service_metrics is not None:
            await service.service_metrics.begin()
            background[ServicePart.METRICS_SERVER] = service.service_metrics.run
        await stack.enter_async_context(beside(service.faults, background))
        # Under our own server the drain is over before this; under another server it runs here.
        stack.push_async_callback(service.drain.run)
        stack.enter_context(tuned_for_streams())
        # Only now, so that a start that fails says nothing but why.
        for remark in telemetry.remarks:
            logger.warning("%s", remark)
        yield
