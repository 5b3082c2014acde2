"""``riptide serve`` with a watcher on its event loop, which reports how late a 1 ms timer came.

Run by the benchmark ``scrape`` as ``python -m benchmarks.watched_service``. To each line on
standard input it answers with one line: the largest delay in seconds since the line before.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from typing import Any
from unittest import mock

from riptide.cli import main as riptide
from riptide_telemetry import EventLoopMonitor

INTERVAL_S = 0.001


class WatchingMonitor(EventLoopMonitor):
    """The service's own monitor, and beside it a timer that is a hundred times as fast."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._largest = 0.0
        self._awaited = time.perf_counter()
        threading.Thread(target=self._answer, daemon=True).start()

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(super().run())
            while True:
                self._awaited = time.perf_counter() + INTERVAL_S
                await asyncio.sleep(INTERVAL_S)
                self._largest = max(self._largest, time.perf_counter() - self._awaited)

    def _answer(self) -> None:
        """Answer the lines of standard input."""
        for _ in sys.stdin:
            largest, self._largest = self._largest, 0.0
            # A delay that has not ended is one too.
            pending = time.perf_counter() - self._awaited
            sys.stdout.write(f"{max(largest, pending)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    with mock.patch("riptide.service.EventLoopMonitor", WatchingMonitor):
        riptide(["serve"])
