"""Reads ``/metrics``."""

from __future__ import annotations

import http.client
import time
from typing import NamedTuple

from benchmarks.service import HOST

OK = 200
TIMEOUT_S = 60.0


class Page(NamedTuple):
    """The text of a scrape's answer, and the seconds that the scrape took."""

    text: str
    seconds: float

    def value(self, name: str) -> float | None:
        """Return the sum of a metric's samples, or None if it has none."""
        values = [
            float(line.rpartition(" ")[2])
            for line in self.text.splitlines()
            if line.startswith((f"{name} ", f"{name}{{"))
        ]
        return sum(values) if values else None


def scrape(port: int) -> Page:
    """Fetch the page once, over a connection of its own.

    Raises:
        RuntimeError: the answer has another status than 200.

    """
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)
    connection.connect()
    started = time.perf_counter()
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    text = answer.read().decode()
    seconds = time.perf_counter() - started
    connection.close()
    if answer.status != OK:
        raise RuntimeError(f"no page of metrics, but {answer.status}: {text[:200]}")
    return Page(text, seconds)
