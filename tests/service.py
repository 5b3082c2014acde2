"""A real service: ``riptide serve`` in a process of its own, on a port of its own."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import orjson
from prometheus_client.parser import text_string_to_metric_families

from operations.ports import free_port
from tests import plain
from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RIPTIDE = Path(sys.executable).with_name("riptide")
SERVING = re.compile(r'serving on (https?://[^\s"]+)')


class Service:
    """The process, its address, and what tests do with it."""

    command: Sequence[str | Path] = (RIPTIDE, "serve")

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        self.directory = directory
        self.settings = {
            "HOST": "127.0.0.1",
            # The same after a restart, as clients know it.
            "PORT": free_port(),
            "DATA_DIR": directory / "data",
            # A client that a test has stopped to read is left alone, however long the test takes.
            "WRITE_TIMEOUT_SECONDS": 5 * DEADLINE_S,
            **{name.upper(): value for name, value in settings.items()},
        }
        self.url = ""
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What the process has printed so far."""
        return (self.directory / "log").read_text()

    @property
    def serves(self) -> bool:
        """Whether the process has said that it serves."""
        return self._serving() is not None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> Self:
        """Start the process and wait until it serves."""
        self.begin()
        match = wait_until(self._serving, lambda: f"the service serves: {self.log}")
        self.url = match[1]
        return self

    def begin(self) -> None:
        """Start the process and wait for nothing."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RIPTIDE_", "OTEL_"))
        }
        # OTEL_* variables keep their names, all others are the service's own.
        environment |= {
            name if name.startswith("OTEL_") else f"RIPTIDE_{name}": str(value)
            for name, value in self.settings.items()
        }
        self.process = self._spawn(environment)

    def _spawn(self, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with (self.directory / "log").open("wb") as log:
            return subprocess.Popen(
                self.command, env=environment, cwd=self.directory, stderr=log, stdout=log
            )

    def _serving(self) -> re.Match[str] | None:
        match = SERVING.search(self.log)
        assert match or self.process is None or self.process.poll() is None, self.log
        return match

    def stop(self) -> int:
        """Ask the process to end, as a supervisor would, and return its exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)

    def kill(self) -> None:
        """End the process without asking."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def topic(self, name: str) -> str:
        return f"{self.url}/topics/{name}"

    def publish(self, topic: str, *messages: Any) -> list[str]:
        """Publish a batch and return the ids of its first and last message."""
        return self.publish_lines(topic, (orjson.dumps(message) for message in messages))

    def publish_lines(self, topic: str, lines: Iterable[bytes]) -> list[str]:
        answer = plain.post(
            self.topic(topic),
            content=b"\n".join(lines),
            headers={"Content-Type": "application/x-ndjson"},
        )
        assert answer.status_code == 202, answer.text
        ids = answer.json()["ids"]
        return [ids["first"], ids["last"]]

    def metrics(self) -> dict[str, float]:
        """Scrape, and return the value of each sample by its name and labels as exposed."""
        text = plain.get(f"{self.url}/metrics").text
        samples = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = ",".join(f'{k}="{v}"' for k, v in sorted(sample.labels.items()))
                samples[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return samples

    def metric(self, name: str, **labels: str) -> float:
        """Scrape, and return the sum of all samples of a name that have these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(
            value
            for sample, value in self.metrics().items()
            if sample.partition("{")[0] == name and all(label in sample for label in wanted)
        )

    def wait_for_metric(self, value: float, name: str, **labels: str) -> None:
        """Wait until a metric has a value, for what happens after a client has gone."""
        last = math.nan

        def has_value() -> bool:
            nonlocal last
            last = self.metric(name, **labels)
            return last == value

        wait_until(has_value, lambda: f"{name}{labels} is {last}, not {value}")
