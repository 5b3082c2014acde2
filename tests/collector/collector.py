"""A real Collector with one of the configurations in ``otel-collector/``."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx2
import orjson

from operations.ports import free_ports
from tests import plain
from tests.programs import require_collector
from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIGURATIONS = Path(__file__).parents[2] / "otel-collector"


class Collector:
    """The process, what it listens on, and what it has put out.

    ``traces_to="[file]"`` sets OTELCOL_TRACES_TO. Ports, and with them the addresses that others
    know, stay the same when it is started again.
    """

    def __init__(self, directory: Path, configuration: str, settings: dict[str, Any]) -> None:
        self.directory = directory
        self.configuration = CONFIGURATIONS / f"{configuration}.yaml"
        grpc, http, prometheus, health, telemetry = free_ports(5)
        self.grpc = f"http://127.0.0.1:{grpc}"
        self.http = f"http://127.0.0.1:{http}"
        self.prometheus = f"http://127.0.0.1:{prometheus}/metrics"
        self._health = f"http://127.0.0.1:{health}/"
        self.own_metrics = f"http://127.0.0.1:{telemetry}/metrics"
        self.file = directory / "telemetry.jsonl"
        self.settings = {
            "GRPC_ENDPOINT": f"127.0.0.1:{grpc}",
            "HTTP_ENDPOINT": f"127.0.0.1:{http}",
            "PROMETHEUS_ENDPOINT": f"127.0.0.1:{prometheus}",
            "HEALTH_ENDPOINT": f"127.0.0.1:{health}",
            "TELEMETRY_HOST": "127.0.0.1",
            "TELEMETRY_PORT": telemetry,
            "FILE": self.file,
            "QUEUE_DIRECTORY": directory / "queue",
            "BATCH_TIMEOUT": "100ms",
            "DEBUG_VERBOSITY": "detailed",
            **{name.upper(): value for name, value in settings.items()},
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What the process has printed so far; the debug exporter prints here too."""
        return (self.directory / "log").read_text()

    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if "OTEL" not in name}
        return inherited | {f"OTELCOL_{name}": str(value) for name, value in self.settings.items()}

    def start(self) -> Self:
        """Start the process and wait until it is ready."""
        program = require_collector()
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [program, f"--config={self.configuration}"],
                env=self.environment(),
                cwd=self.directory,
                stdout=log,
                stderr=log,
            )
        wait_until(self._ready, lambda: f"the Collector is ready: {self.log[-4000:]}", pause_s=0.05)
        return self

    def _ready(self) -> bool:
        assert self.process is None or self.process.poll() is None, self.log[-4000:]
        with contextlib.suppress(httpx2.TransportError):
            return plain.get(self._health).status_code == 200
        return False

    def stop(self) -> int:
        """Ask the process to end and return its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)

    def kill(self) -> None:
        """End the process without asking."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def written(self, kind: str) -> Iterator[dict[str, Any]]:
        """Yield what the file exporter has written: "Spans", "LogRecords" or "Metrics" by scope.

        Each comes with its resource's attributes as ``resource``.
        """
        outer = {"Spans": "Spans", "LogRecords": "Logs", "Metrics": "Metrics"}[kind]
        inner = kind[0].lower() + kind[1:]
        text = self.file.read_bytes() if self.file.exists() else b""
        # The last line may be on its way.
        for line in text.split(b"\n")[:-1]:
            for resource in orjson.loads(line).get(f"resource{outer}", []):
                described = attributes(resource.get("resource", {}))
                for scope in resource[f"scope{outer}"]:
                    for each in scope[inner]:
                        yield {**each, "resource": described}

    def spans(self) -> list[dict[str, Any]]:
        """Return the spans that the file exporter has written."""
        return list(self.written("Spans"))


def attributes(thing: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a span, record or resource of OTLP's JSON as a plain mapping."""
    return {each["key"]: _plain(each["value"]) for each in thing.get("attributes", [])}


def _plain(value: dict[str, Any]) -> Any:
    ((kind, content),) = value.items()
    return int(content) if kind == "intValue" else content
