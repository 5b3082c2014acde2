"""``riptide serve`` that answers each line on standard input with what it holds, as JSON.

Run as ``python -m benchmarks.endurance.counted_service``.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
import threading
from typing import Any
from unittest import mock

import orjson

from riptide.admission.admission import Admission
from riptide.cli import main as riptide
from riptide.streaming.streams import Streams
from riptide_telemetry import EventLoopMonitor


class CountingMonitor(EventLoopMonitor):
    """The service's own monitor, with a thread that answers."""

    async def run(self) -> None:
        """Answer on the service's event loop, and watch the loop until cancelled."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=_answer, args=[loop], daemon=True).start()
        await super().run()


class CountedStreams(Streams):
    """The service's streams, reachable as ``instance``."""

    instance: Streams

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        CountedStreams.instance = self


class CountedAdmission(Admission):
    """The service's admission, reachable as ``instance``."""

    instance: Admission

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        CountedAdmission.instance = self


def _answer(loop: asyncio.AbstractEventLoop) -> None:
    for _ in sys.stdin:
        asyncio.run_coroutine_threadsafe(_count(loop), loop).result()


async def _count(loop: asyncio.AbstractEventLoop) -> None:
    # Twice, because the first collection may turn further objects into garbage.
    gc.collect()
    gc.collect()
    # Memory that the allocator keeps for later is no leak; its size follows from the peak.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    held = {
        "objects": len(gc.get_objects()),
        # All tasks but this one.
        "tasks": len(asyncio.all_tasks(loop)) - 1,
        "places": CountedStreams.instance._places_taken,  # noqa: SLF001  # a leak would be in there
        "addresses": len(CountedAdmission.instance._addresses),  # noqa: SLF001  # as above
    }
    sys.stdout.write(f"{orjson.dumps(held).decode()}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with (
        mock.patch("riptide.service.EventLoopMonitor", CountingMonitor),
        mock.patch("riptide.service.Streams", CountedStreams),
        mock.patch("riptide.service.Admission", CountedAdmission),
    ):
        riptide(["serve"])
