"""``riptide serve`` that tells how long its telemetry took of the fan-out of each message.

Run by the benchmark ``latency`` as ``python -m benchmarks.timed_service``. To each line on standard
input it answers with one line: the nanoseconds that recording took since the line before, from the
acceptance of a message on. Taking the time is in them, about 0.2 µs a call.
"""

from __future__ import annotations

import functools
import sys
import threading
import time
from typing import TYPE_CHECKING, Any
from unittest import mock

from app.cli import main as riptide
from telemetry import StreamLifecycleManager

if TYPE_CHECKING:
    from collections.abc import Callable

# What is recorded between the acceptance of a message and its last write.
ON_THE_WAY = ("log_appended", "messages_published", "items_sent", "items_fanned_out")


class TimedManager(StreamLifecycleManager):
    """The service's own, with a stopwatch on each verb."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._taken_ns = 0
        for verb in ON_THE_WAY:
            setattr(self, verb, self._timed(getattr(self, verb)))
        threading.Thread(target=self._answer, daemon=True).start()

    def _timed(self, record: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(record)
        def timed(*args: Any, **keywords: Any) -> None:
            began = time.perf_counter_ns()
            record(*args, **keywords)
            self._taken_ns += time.perf_counter_ns() - began

        return timed

    def _answer(self) -> None:
        """Answer the lines of standard input."""
        for _ in sys.stdin:
            taken, self._taken_ns = self._taken_ns, 0
            sys.stdout.write(f"{taken}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    with mock.patch("telemetry.providers.StreamLifecycleManager", TimedManager):
        riptide(["serve"])
