"""``riptide serve`` that reports how late a 1 ms timer on its event loop came.

Run by the benchmark ``scrape`` as ``python -m benchmarks.watched_service``. The service answers
each line on standard input with the largest delay since the line before, in seconds.
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
    """The service's own monitor, with a second timer that is a hundred times as fast."""

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
            # The timer may be late at this moment, which counts as well.
            pending = time.perf_counter() - self._awaited
            sys.stdout.write(f"{max(largest, pending)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    with mock.patch("riptide.service.EventLoopMonitor", WatchingMonitor):
        riptide(["serve"])
