"""What publishers wait for while the messages of many topics expire in the same second."""

from __future__ import annotations

import http.client
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson

from benchmarks import machine
from benchmarks.figures import Bar, Figure, Result
from benchmarks.growth.publishers import Publishers
from benchmarks.growth.seeding import MESSAGE, Contents, seed
from benchmarks.service import HOST, riptide

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.growth.publishers import Answers

PUBLISHERS = 4
P99_BAR_MS, GAP_BAR_MS = Bar(10), Bar(250)
# As the service has it by default.
RETENTION_S = 7 * 24 * 3600
NANOSECONDS = 10**9


class Plan(NamedTuple):
    """Topics with messages, and how long is measured before they expire and from then on."""

    topics: int
    messages_each: int
    start_s: float
    calm_s: float
    trim_s: float


FULL = (Plan(10_000, 10, 15, 10, 15), Plan(100_000, 1, 40, 10, 30))
QUICK = (Plan(100, 1, 3, 0.3, 6),)


def run(*, quick: bool) -> Result:
    """Measure four publishers before and after the moment at which everything expires."""
    plans = QUICK if quick else FULL
    figures: list[Figure] = []
    for plan in plans:
        figures += _measure(plan)
    return Result(figures, {"publishers": PUBLISHERS, "plans": [plan._asdict() for plan in plans]})


def _measure(plan: Plan) -> Iterator[Figure]:
    name = f"{plan.topics:,} topics with {plan.messages_each} messages each expire"
    with tempfile.TemporaryDirectory() as directory:
        accepted_at = time.time_ns() - RETENTION_S * NANOSECONDS
        seed(Path(directory), Contents(plan.topics, plan.messages_each, accepted_at))
        # They are older than that already. So that they expire while the service runs, the
        # retention is longer by the time that has passed since, and by that of the start.
        expire_at = time.time() + plan.start_s + plan.calm_s
        retention_s = expire_at - accepted_at / NANOSECONDS
        with (
            riptide(
                log="sqlite",
                data_dir=directory,
                max_topics=2 * plan.topics,
                retention_seconds=retention_s,
            ) as server,
            machine.pinned_to(machine.client_cores()),
            Publishers(server.port, PUBLISHERS) as publishers,
        ):
            calm = _publish(publishers, expire_at)
            trim = _publish(publishers, expire_at + plan.trim_s)
            left = _topics_left(server.port)
    yield Figure(f"{name}: publish p50", "ms", [trim.percentile_ms(50)])
    yield Figure(f"{name}: publish p99", "ms", [trim.percentile_ms(99)], P99_BAR_MS)
    interval_s = statistics.median(calm.waits)
    yield Figure(
        f"{name}: p99 of messages that do not wait for each other",
        "ms",
        [trim.unhurried_percentile_ms(99, interval_s)],
    )
    yield Figure(f"{name}: longest gap", "ms", [trim.longest_gap_ms()], GAP_BAR_MS)
    yield Figure(f"{name}: publish p50 before", "ms", [calm.percentile_ms(50)])
    yield Figure(f"{name}: publish p99 before", "ms", [calm.percentile_ms(99)])
    yield Figure(f"{name}: longest gap before", "ms", [calm.longest_gap_ms()])
    yield Figure(f"{name}: topics left {plan.trim_s:g} s later", "", [left], Bar(0))


def _publish(publishers: Publishers, end: float) -> Answers:
    return publishers.publish(
        lambda number: f"live-{number % PUBLISHERS}", MESSAGE, until=lambda _: time.time() > end
    )


def _topics_left(port: int) -> int:
    """Return how many of the seeded topics have messages; no more than are on a page."""
    connection = http.client.HTTPConnection(HOST, port)
    try:
        connection.request("GET", "/topics?after=topic-")
        return len(orjson.loads(connection.getresponse().read())["topics"])
    finally:
        connection.close()
