"""``riptide serve`` that reports how long the recording of each message took.

Run by the benchmark ``latency`` as ``python -m benchmarks.timed_service``. The service answers each
line on standard input with two numbers, in nanoseconds since the line before: the time that
recording took between the acceptance of a message and its last write, and the time it took in all.
A fan-out is recorded in one or more parts, the last of them after the last write. Both numbers
include taking the time itself, about 0.2 µs a call.
"""

from __future__ import annotations

import functools
import sys
import threading
import time
from typing import TYPE_CHECKING, Any
from unittest import mock

from riptide.cli import main as riptide
from riptide_telemetry import StreamLifecycleManager

if TYPE_CHECKING:
    from collections.abc import Callable

BEFORE_THE_FAN_OUT = ("log_appended", "messages_published", "items_sent")


class TimedManager(StreamLifecycleManager):
    """The service's lifecycle manager, with a stopwatch on each method that records a message."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._on_the_way_ns = self._last_part_ns = 0
        for verb in BEFORE_THE_FAN_OUT:
            setattr(self, verb, self._timed(getattr(self, verb)))
        threading.Thread(target=self._answer, daemon=True).start()

    def items_fanned_out(self, *args: Any, **keywords: Any) -> None:
        """Record a part of a fan-out; only the last part comes after the last write."""
        began = time.perf_counter_ns()
        super().items_fanned_out(*args, **keywords)
        self._on_the_way_ns += self._last_part_ns
        self._last_part_ns = time.perf_counter_ns() - began

    def _timed(self, record: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(record)
        def timed(*args: Any, **keywords: Any) -> None:
            began = time.perf_counter_ns()
            record(*args, **keywords)
            self._on_the_way_ns += time.perf_counter_ns() - began

        return timed

    def _answer(self) -> None:
        """Answer the lines of standard input."""
        for _ in sys.stdin:
            on_the_way, last_part = self._on_the_way_ns, self._last_part_ns
            self._on_the_way_ns = self._last_part_ns = 0
            sys.stdout.write(f"{on_the_way} {on_the_way + last_part}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    with mock.patch("riptide_telemetry.providers.StreamLifecycleManager", TimedManager):
        riptide(["serve"])
