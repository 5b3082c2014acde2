"""A real Prometheus server, and what tests ask it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

import httpx2

from tests.programs import require

if TYPE_CHECKING:
    from pathlib import Path

    from tests.service import Service

CONFIGURATION = """
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: riptide
    static_configs:
      - targets: ["{target}"]
"""


class Prometheus:
    """A Prometheus server that scrapes one service, or what its configuration says."""

    def __init__(
        self, directory: Path, service: Service | None = None, configuration: str = ""
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        file = directory / "prometheus.yml"
        target = "" if service is None else service.url.removeprefix("http://")
        file.write_text(configuration or CONFIGURATION.format(target=target))
        self._log = (directory / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            [
                require("prometheus"),
                f"--config.file={file}",
                f"--storage.tsdb.path={directory / 'tsdb'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
            ],
            stderr=self._log,
        )

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    def series(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return the labels and the value of each series of an instant query."""
        answer = httpx2.get(f"{self.url}/api/v1/query", params={"query": expression}).json()
        result: list[dict[str, Any]] = answer["data"]["result"]
        return [(series["metric"], float(series["value"][1])) for series in result]

    def query(self, expression: str) -> dict[str, float]:
        """Return the value of each series of an instant query, by its protocol label."""
        return {labels.get("protocol", ""): value for labels, value in self.series(expression)}

    def wait_for_scrape(self) -> None:
        """Return once a scrape has begun after this moment, and ended."""
        asked = time.time()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx2.TransportError, KeyError):
                scraped = self.query("timestamp(up)")
                if scraped and min(scraped.values()) > asked:
                    return
            time.sleep(0.1)
        raise AssertionError("Prometheus did not scrape")
