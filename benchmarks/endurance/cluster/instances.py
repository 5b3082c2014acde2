"""Instances of Riptide, each on a machine of its own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from benchmarks.endurance.promises import is_ready, request
from benchmarks.service import environment_of
from operations.faulty_disk.disk import FaultyDisk

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.endurance.cluster.network import Machine
    from benchmarks.endurance.place import Place

PORT = 8080
DEADLINE_S, POLL_S = 120.0, 0.05
SAMPLE = re.compile(rb"^(riptide_\w+)(?:\{\S*)? (\S+)$", re.MULTILINE)


class Instance:
    """A service, until it is killed; it may be started again."""

    def __init__(self, machine: Machine, directory: Path, library: Path, **settings: Any) -> None:
        """``library`` is that of the faulty disk, which can also make clocks wrong."""
        directory.mkdir()
        self.machine = machine
        self.place: Place = (machine.address, PORT)
        self.settings: dict[str, Any] = {
            "host": "0.0.0.0",  # noqa: S104  # of its namespace, where nobody else is
            "allow_anonymous": "true",
            "port": PORT,
            "instance": directory.name,
        } | settings
        self._log = directory / "log"
        # There are no files of a log; the clock is what is made wrong.
        self._clock = FaultyDisk(directory, library, directory.with_suffix(".table"))
        self._process: subprocess.Popen[bytes] | None = None

    def step_clock(self, seconds: int) -> None:
        """Let its wall clock be so much ahead, or behind."""
        self._clock.step_clock(seconds)

    async def start(self, **settings: object) -> None:
        """Start it, with other settings from now on, and wait until it is ready."""
        self.settings |= settings
        environment = environment_of(**self.settings) | self._clock.environment
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RIPTIDE", "OTEL"))
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220, S603  # quick, a program of ours
                [*self.machine.command(), sys.executable, "-m", "riptide.cli", "serve"],
                env=inherited | environment,
                stdout=log,
                stderr=log,
            )
        await self.until_ready()

    async def until_ready(self, *, is_wanted: bool = True) -> None:
        """Wait until it says that it is ready, or that it is not.

        Raises:
            RuntimeError: it does not say so, or has ended.

        """
        assert self._process is not None  # noqa: S101  # it was started
        deadline = time.monotonic() + DEADLINE_S
        while await asyncio.to_thread(is_ready, self.place) != is_wanted:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"{self.place} does not become ready: {self.log()}")
            await asyncio.sleep(POLL_S)

    def log(self) -> str:
        """Return what it has printed."""
        return self._log.read_text(encoding="utf-8")

    def tracebacks(self) -> list[str]:
        """Return the lines of its log that begin what nobody expected."""
        return [line for line in self.log().splitlines() if "Traceback" in line]

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None  # noqa: S101  # it was started
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it without asking, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def stop(self) -> None:
        """End it in an orderly way."""
        assert self._process is not None  # noqa: S101  # it was started
        self.send(signal.SIGTERM)
        await asyncio.to_thread(self._process.wait, DEADLINE_S)

    async def metrics(self) -> dict[str, float]:
        """Scrape it: the sum of the samples of each name."""
        return await asyncio.to_thread(metrics_of, self.place)


def metrics_of(place: Place) -> dict[str, float]:
    """Scrape a service: the sum of the samples of each name."""
    _, page = request(place, "GET", "/metrics")
    sums: dict[str, float] = {}
    for name, value in SAMPLE.findall(page):
        sums[name.decode()] = sums.get(name.decode(), 0.0) + float(value)
    return sums
