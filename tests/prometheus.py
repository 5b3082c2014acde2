"""A real Prometheus server, and what tests ask it."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from typing import TYPE_CHECKING, Any

import httpx2

from operations.ports import free_port
from tests import plain
from tests.programs import require
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.service import Service

CONFIGURATION = """
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: riptide
    static_configs:
      - targets: [{targets}]
"""


class Prometheus:
    """A Prometheus server that scrapes services, or what its configuration says.

    ``ITSELF`` in a configuration stands for the server's own address. It is written to ``file``,
    where there may be others that it names.
    """

    def __init__(
        self,
        directory: Path,
        *services: Service,
        configuration: str = "",
        program: str = "",
        flags: Iterable[str] = (),
        file: Path | None = None,
    ) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        file = file or directory / "prometheus.yml"
        targets = ", ".join(service.url.removeprefix("http://") for service in services)
        text = configuration or CONFIGURATION.format(targets=targets)
        file.write_text(text.replace("ITSELF", self.url.removeprefix("http://")))
        self._client = plain.client(base_url=self.url)
        self._log = (directory / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            [
                program or require("prometheus"),
                f"--config.file={file}",
                f"--storage.tsdb.path={directory / 'tsdb'}",
                "--enable-feature=exemplar-storage",
                f"--web.listen-address={self.url.removeprefix('http://')}",
                *flags,
            ],
            stderr=self._log,
        )

    def close(self) -> None:
        self._client.close()
        self._process.kill()
        self._process.wait()
        self._log.close()

    def series(
        self, expression: str, at: float | None = None
    ) -> list[tuple[dict[str, str], float]]:
        """Return the labels and the value of each series of an instant query (default: now)."""
        parameters = {"query": expression} | ({} if at is None else {"time": str(at)})
        answer = self._client.get("/api/v1/query", params=parameters).json()
        result: list[dict[str, Any]] = answer["data"]["result"]
        return [(series["metric"], float(series["value"][1])) for series in result]

    def values(self, expression: str, start: float, end: float, step: float) -> list[float]:
        """Return all values of all series of a range query."""
        answer = self._client.get(
            "/api/v1/query_range",
            params={"query": expression, "start": start, "end": end, "step": step},
        ).json()
        result: list[dict[str, Any]] = answer["data"]["result"]
        return [float(value) for series in result for _, value in series["values"]]

    def exemplars(self, expression: str, start: float, end: float) -> list[dict[str, str]]:
        """Return the labels of the exemplars behind a query."""
        answer = self._client.get(
            "/api/v1/query_exemplars", params={"query": expression, "start": start, "end": end}
        ).json()
        return [each["labels"] for series in answer["data"] for each in series["exemplars"]]

    def query(self, expression: str) -> dict[str, float]:
        """Return the value of each series of an instant query, by its protocol label."""
        return {labels.get("protocol", ""): value for labels, value in self.series(expression)}

    def wait_for_scrape(self, jobs: str = ".*") -> None:
        """Return once a scrape of each target has begun after this moment, and ended well.

        ``jobs`` is a regular expression: those of other jobs are not waited for.
        """
        asked = time.time()

        def scraped() -> bool:
            # A server that is about to be ready answers 503, and not in JSON.
            with contextlib.suppress(httpx2.TransportError, KeyError, ValueError):
                active = self._client.get("/api/v1/targets").json()["data"]["activeTargets"]
                targets = [each for each in active if re.fullmatch(jobs, each["labels"]["job"])]
                # timestamp() of an expression would be the time of the query, not of the sample.
                up = f'up{{job=~"{jobs}"}}'
                well = self.series(f"timestamp({up}) and {up} == 1")
                return len([moment for _, moment in well if moment > asked]) == len(targets) > 0
            return False

        wait_until(scraped, "Prometheus scrapes", pause_s=0.1)
