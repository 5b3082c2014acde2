"""The standard process metrics, at a cost that does not grow with the number of sockets."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prometheus_client import Metric


_GAUGES = {
    "process_virtual_memory_bytes": "Virtual memory size in bytes.",
    "process_resident_memory_bytes": "Resident memory size in bytes.",
    "process_start_time_seconds": "Start time of the process since unix epoch in seconds.",
    "process_open_fds": "Number of open file descriptors.",
    "process_max_fds": "Maximum number of open file descriptors.",
}
CPU = "process_cpu_nanoseconds"
NANOSECONDS = 1_000_000_000


class ProcessMetrics(Collector):
    """The standard process metrics ("Writing client libraries", Prometheus documentation).

    prometheus_client's own collector lists the open files to count them, which takes 7 ms for
    10,000 files. Since Linux 6.2 the size of ``/proc/self/fd`` is their number. Without ``/proc``
    there are no metrics.
    """

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._directory = proc / "self"
        self._proc = proc
        self._start_time: float | None = None

    def collect(self) -> Iterable[Metric]:
        """Return the six families, or none without ``/proc``."""
        gauges = self.gauges()
        if not gauges:
            return []
        numbers = {**gauges, CPU: time.process_time_ns()}
        return process_families({name: {"": number} for name, number in numbers.items()})

    def gauges(self) -> dict[str, float]:
        """Return the numbers of this process except for its processor time."""
        try:
            sizes = (self._directory / "statm").read_text().split()
            open_files = self._open_files()
            start_time = self._started_at()
        except OSError:
            return {}
        page = resource.getpagesize()
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        numbers = int(sizes[0]) * page, int(sizes[1]) * page, start_time, open_files, limit
        return dict(zip(_GAUGES, numbers, strict=True))

    def _open_files(self) -> int:
        directory = self._directory / "fd"
        # The size is 0 before Linux 6.2.
        return directory.stat().st_size or sum(1 for _ in directory.iterdir())

    def _started_at(self) -> float:
        if self._start_time is None:
            # The program's name, in parentheses, may have any character (proc(5), /proc/pid/stat).
            fields = (self._directory / "stat").read_text().rpartition(")")[2].split()
            boot = next(
                float(line.split()[1])
                for line in (self._proc / "stat").read_text().splitlines()
                if line.startswith("btime ")
            )
            self._start_time = boot + int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return self._start_time


def process_families(numbers: Mapping[str, Mapping[str, float]]) -> list[Metric]:
    """Return the families of a process, or of several whose numbers were merged.

    A number that is not there has no family.
    """
    families: list[Metric] = [
        GaugeMetricFamily(name, text, numbers[name][""])
        for name, text in _GAUGES.items()
        if name in numbers
    ]
    if CPU in numbers:
        families.append(
            CounterMetricFamily(
                "process_cpu_seconds",
                "Total user and system CPU time spent in seconds.",
                numbers[CPU][""] / NANOSECONDS,
            )
        )
    return families
