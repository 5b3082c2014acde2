"""How long a scrape of ``/metrics`` takes, and how long it blocks the event loop meanwhile.

The streams are open and idle. A stall is the delay of a 1 ms timer on the loop. Other things delay
the timer too, so the largest delay in an equally long time without a scrape is shown beside it.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from benchmarks import machine
from benchmarks.consumers import Consumers
from benchmarks.figures import Bar, Figure, Result
from benchmarks.scraping import scrape
from benchmarks.service import Server, environment_of, running

MILLISECONDS = 1_000
# Between scrapes, so that the loop comes to rest.
PAUSE_S = 0.05
# The service's own descriptors, for its log, its listener and its pipes.
SPARE_FILES = 100


class Sample(NamedTuple):
    """One scrape, in seconds."""

    duration: float
    stall: float
    stall_without: float


def run(*, quick: bool) -> Result:
    """Measure at some numbers of open streams, as far as the limit of open files allows."""
    counts, scrapes = ((10,), 3) if quick else ((1_000, 10_000), 60)
    limit = machine.open_files_limit() - SPARE_FILES
    used = [min(count, limit) for count in counts]
    figures = []
    for count in used:
        figures += _figures(count, measure(count, scrapes))
    return Result(figures, {"streams": used, "scrapes": scrapes})


def measure(stream_count: int, scrape_count: int) -> list[Sample]:
    """Scrape a service that has so many streams open.

    Raises:
        RuntimeError: the service counts another number of streams.

    """
    with (
        running(
            ["-m", "benchmarks.watched_service"], environment_of(max_connections=stream_count)
        ) as server,
        machine.pinned_to(machine.client_cores()),
        Consumers(server.port, stream_count),
    ):
        active = scrape(server.port).value("riptide_streaming_active_connections")
        if active != stream_count:
            raise RuntimeError(f"{active} streams are open, and not {stream_count}")
        return [_sample(server) for _ in range(scrape_count)]


def _sample(server: Server) -> Sample:
    time.sleep(PAUSE_S)
    _largest_delay(server)
    duration = scrape(server.port).seconds
    stall = _largest_delay(server)
    time.sleep(PAUSE_S)
    _largest_delay(server)
    time.sleep(duration)
    return Sample(duration, stall, _largest_delay(server))


def _largest_delay(server: Server) -> float:
    """Return the largest delay since the last call."""
    server.stdin.write(b"\n")
    server.stdin.flush()
    return float(server.stdout.readline())


def _figures(stream_count: int, samples: list[Sample]) -> list[Figure]:
    columns = zip(*samples, strict=True)
    duration, stall, without = ([value * MILLISECONDS for value in column] for column in columns)
    at = f"{stream_count:,} streams"
    return [
        Figure(f"{at}: scrape", "ms", duration, Bar(25)),
        Figure(f"{at}: largest stall of the loop during a scrape", "ms", stall, Bar(5)),
        Figure(f"{at}: the same in as long a time without one", "ms", without),
    ]
