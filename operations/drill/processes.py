"""The services of a drill, and what else it finds on the system."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from operations.ports import free_port
from operations.processes import Process

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_START_DEADLINE_S: Final = 60
_SERVING: Final = re.compile(r"serving on (https?://\S+)")
RIPTIDE: Final = (str(Path(sys.executable).with_name("riptide")), "serve")
_REPOSITORY: Final = Path(__file__).parents[2]


class DrillError(Exception):
    """The drill itself cannot go on; the text says what is missing or broken."""


def program(name: str) -> str:
    """Return the path of a program of the system.

    Raises:
        DrillError: the program is not installed.

    """
    path = shutil.which(name)
    if path is None:
        raise DrillError(f"{name} is not installed: run scripts/install-system as root")
    return path


class Service:
    """A service that can be restarted at the same address, and is scraped under a job name.

    It runs in ``directory``, to which the files that its settings name are relative.
    """

    def __init__(
        self,
        job: str,
        directory: Path,
        target_file: Path,
        settings: Mapping[str, object],
        command: Sequence[str] = RIPTIDE,
    ) -> None:
        self.job = job
        self.port = free_port()
        self.scheme = "https" if "tls_certificate" in settings else "http"
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"
        self.directory = directory / job
        self._target_file = target_file
        self._command = command
        self._process: Process | None = None
        ours = ("RIPTIDE_", "OTEL_")
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        self._environment |= {
            # The drill's modules are not installed, and each process runs in another directory.
            "PYTHONPATH": os.pathsep.join([str(_REPOSITORY), os.environ.get("PYTHONPATH", "")]),
            "RIPTIDE_HOST": "127.0.0.1",
            "RIPTIDE_PORT": str(self.port),
            "RIPTIDE_LOG": "memory",
            "RIPTIDE_RETENTION_MESSAGES": "100",
            "RIPTIDE_DRAIN_SECONDS": "1",
            **{
                name if name.startswith(ours) else f"RIPTIDE_{name.upper()}": str(value)
                for name, value in settings.items()
            },
        }

    def topic(self, name: str) -> str:
        """Return the address of a topic."""
        return f"{self.url}/topics/{name}"

    async def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start the process and wait until it serves; ``environment`` is what it gets besides.

        Raises:
            DrillError: the process does not serve.

        """
        (self.directory / "log").unlink(missing_ok=True)
        self._process = Process(
            self._command, self.directory, self._environment | dict(environment or {})
        )
        for _ in range(_START_DEADLINE_S * 20):
            if _SERVING.search(self._process.log_file.read_text()):
                return
            if not self._process.running:
                break
            await asyncio.sleep(0.05)
        raise DrillError(f"{self.job} did not start: {self._process.log_file.read_text()}")

    @property
    def running(self) -> bool:
        """Whether the process has been started and has not ended."""
        return self._process is not None and self._process.running

    def children(self, module: str) -> list[int]:
        """Return the processes that the process has started to run a module of Python."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit():
                    arguments = (entry / "cmdline").read_text().split("\0")
                    parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                    if module in arguments and self._process and int(parent) == self._process.pid:
                        found.append(int(entry.name))
        return found

    async def wait_for_end(self) -> None:
        """Return when the process has ended by itself."""
        if self._process is not None:
            await self._process.wait()

    async def stop(self) -> None:
        """Stop the process by SIGTERM, as a supervisor would."""
        if self._process is not None:
            await self._process.stop()

    def send(self, number: int) -> None:
        """Send the process a signal."""
        if self._process is not None:
            self._process.send(number)

    async def restart(self, *, killed: bool = False) -> None:
        """Stop the process and start another; ``killed``: stop by SIGKILL, without a drain."""
        if self._process is not None:
            await self._process.stop(signal.SIGKILL if killed else signal.SIGTERM)
        await self.start()

    def be_scraped(self) -> None:
        """Add this target to service discovery."""
        labels = {"job": self.job, "__scheme__": self.scheme}
        target = json.dumps([{"targets": [f"127.0.0.1:{self.port}"], "labels": labels}])
        # Renamed in one step, so that Prometheus never reads half of the file.
        new = self._target_file.with_suffix(".new")
        new.write_text(target)
        new.rename(self._target_file)

    def not_be_scraped(self) -> None:
        """Remove this target from service discovery."""
        new = self._target_file.with_suffix(".new")
        new.write_text("[]")
        new.rename(self._target_file)
