"""What the same work costs in small logs and in large ones: topics, and messages of one topic."""

from __future__ import annotations

import http.client
import itertools
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson

from benchmarks import machine
from benchmarks.figures import RATIO, Bar, Figure, Result, ratios
from benchmarks.growth.publishers import MILLISECONDS, Publishers
from benchmarks.growth.seeding import MESSAGE, Contents, seed, topic_name
from benchmarks.service import HOST, riptide

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.growth.publishers import Answers

PUBLISHERS = 4
PROCESSOR_BAR = Bar(1.2)
MICROSECONDS = 1_000_000
TIMEOUT_S = 120.0
REQUESTS = 15
# A service is at rest once it takes less of a core than this, for so long.
AT_REST, REST_S, REST_DEADLINE_S = 0.1, 1.0, 600.0
TOPICS = (100, 1_000, 10_000, 100_000)
MESSAGES = (10_000, 100_000, 1_000_000, 5_000_000)
QUICK_TOPICS = (5, 50)
QUICK_MESSAGES = (100, 1_000)


class Effort(NamedTuple):
    """How many messages are published in a round, how often, and for how long nothing happens."""

    publishes: int
    rounds: int
    idle_s: float


FULL = Effort(5_000, 3, 3.0)
QUICK = Effort(50, 1, 0.2)


class Measured(NamedTuple):
    """What one round in one log took."""

    start_s: float
    publish_p50_ms: float
    publish_p99_ms: float
    processor_us: float
    again_us: float
    idle_percent: float
    page_ms: float
    middle_page_ms: float
    resume_ms: float


COLUMNS = {
    "start_s": ("start", "s"),
    "publish_p50_ms": ("publish p50", "ms"),
    "publish_p99_ms": ("publish p99", "ms"),
    "processor_us": ("processor time for a publish", "µs"),
    "again_us": ("the same, once more to the same topics", "µs"),
    "idle_percent": ("idle", "% of a core"),
    "page_ms": ("first page of topics", "ms"),
    "middle_page_ms": ("page in the middle", "ms"),
    "resume_ms": ("a consumer that resumes", "ms"),
}


def topics(*, quick: bool) -> Result:
    """Measure with one message in each of 100 to 100,000 topics."""
    counts = QUICK_TOPICS if quick else TOPICS
    logs = {f"{count:,} topics": Contents(count, 1) for count in counts}
    return _run(logs, QUICK if quick else FULL)


def messages(*, quick: bool) -> Result:
    """Measure with 10,000 to 5 million messages in one topic."""
    counts = QUICK_MESSAGES if quick else MESSAGES
    logs = {f"{count:,} messages": Contents(1, count) for count in counts}
    return _run(logs, QUICK if quick else FULL)


def _run(logs: dict[str, Contents], effort: Effort) -> Result:
    measured: dict[str, list[Measured]] = {name: [] for name in logs}
    with tempfile.TemporaryDirectory() as directory:
        for name, contents in logs.items():
            seed(Path(directory, name), contents)
        # In turn, so that what disturbs the machine for a while disturbs all of them.
        for _ in range(effort.rounds):
            for name, contents in logs.items():
                measured[name].append(_measure(Path(directory, name), contents, effort))
    smallest, *_, largest = logs
    figures = [
        Figure(
            f"{COLUMNS[field][0]}: {largest} ÷ {smallest}",
            RATIO,
            ratios(
                [getattr(each, field) for each in measured[largest]],
                [getattr(each, field) for each in measured[smallest]],
            ),
            PROCESSOR_BAR,
        )
        for field in ("processor_us", "again_us")
    ]
    figures += [
        Figure(
            f"{name}: {column}",
            unit,
            [getattr(each, field) for each in rounds],
            row=name,
            column=column,
        )
        for name, rounds in measured.items()
        for field, (column, unit) in COLUMNS.items()
    ]
    return Result(figures, effort._asdict() | {"publishers": PUBLISHERS})


def _measure(directory: Path, contents: Contents, effort: Effort) -> Measured:
    chance = random.Random(1)  # noqa: S311  # the same topics in each round
    order = itertools.cycle([chance.randrange(contents.topics) for _ in range(effort.publishes)])
    begun = time.monotonic()
    with (
        riptide(log="sqlite", data_dir=directory, max_topics=10 * max(TOPICS)) as server,
        machine.pinned_to(machine.client_cores()),
    ):
        start_s = time.monotonic() - begun
        _wait_for_rest(server.pid)
        before = machine.cpu_seconds(server.pid)
        time.sleep(effort.idle_s)
        idle_s = machine.cpu_seconds(server.pid) - before
        with Publishers(server.port, PUBLISHERS) as publishers:
            answers, processor_us = _publish(server.pid, publishers, order, effort.publishes)
            # The first message of a topic since the start costs more than those that follow it.
            _, again_us = _publish(server.pid, publishers, order, effort.publishes)
        first_page = _get(server.port, "/topics?limit=100")
        topic = orjson.loads(first_page)["topics"][0]
        return Measured(
            start_s,
            answers.percentile_ms(50),
            answers.percentile_ms(99),
            processor_us,
            again_us,
            idle_s / effort.idle_s * 100,
            _get_ms(server.port, "/topics?limit=100"),
            _get_ms(server.port, "/topics?limit=100&after=topic-5"),
            _get_ms(server.port, f"/topics/{topic['topic']}?until=latest&after={topic['newest']}"),
        )


def _wait_for_rest(pid: int) -> None:
    """Wait until a service has checked its log, which it does after its start beside all else."""
    deadline = time.monotonic() + REST_DEADLINE_S
    while True:
        before = machine.cpu_seconds(pid)
        time.sleep(REST_S)
        if machine.cpu_seconds(pid) - before < AT_REST * REST_S:
            return
        if time.monotonic() > deadline:
            raise RuntimeError("the service does not come to rest")


def _publish(
    pid: int, publishers: Publishers, order: Iterator[int], count: int
) -> tuple[Answers, float]:
    """Publish to the next topics; return the answers, and the microseconds that each has cost."""
    before = machine.cpu_seconds(pid)
    answers = publishers.publish(
        lambda _: topic_name(next(order)),
        MESSAGE,
        until=lambda answered: answered > count - PUBLISHERS,
    )
    processor_s = machine.cpu_seconds(pid) - before
    return answers, processor_s / len(answers.waits) * MICROSECONDS


def _get_ms(port: int, path: str) -> float:
    """Return how long a request takes, the median of some."""
    samples = []
    for _ in range(REQUESTS):
        begun = time.perf_counter()
        _get(port, path)
        samples.append((time.perf_counter() - begun) * MILLISECONDS)
    return statistics.median(samples)


def _get(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise RuntimeError(f"{path}: {body!r}")
    return body
