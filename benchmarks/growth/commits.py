"""How fast publishes are committed, beside another version of the service in the same run."""

from __future__ import annotations

import functools
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import machine
from benchmarks.figures import RATIO, Bar, Figure, Result, ratios
from benchmarks.growth.publishers import Publishers
from benchmarks.growth.seeding import MESSAGE
from benchmarks.service import environment_of, running

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.growth.publishers import Answers

COMMAND = ["-m", "riptide.cli", "serve"]
PUBLISHERS = (1, 64)
# Until the write-ahead log has its size, each sync also records that the file has grown.
WARM_UPS = 5_000
# By how much a repetition may differ though nothing has changed: measured with the same version
# on both sides.
NOISE = 0.05
THIS, BASELINE = "this version", "baseline"
COLUMNS: dict[str, tuple[str, Callable[[Answers], float]]] = {
    "acknowledged": ("messages/s", lambda each: each.per_second()),
    "p50": ("ms", lambda each: each.percentile_ms(50)),
    "p99": ("ms", lambda each: each.percentile_ms(99)),
}


def run(*, quick: bool, baseline: Path | None = None) -> Result:
    """Measure one publisher and many; ``baseline`` is the Python that the other version is in."""
    seconds, rounds = (0.3, 1) if quick else (3.0, 5)
    versions = {THIS: Path(sys.executable)} | ({BASELINE: baseline} if baseline else {})
    answers: dict[tuple[str, int], list[Answers]] = {
        (version, count): [] for count in PUBLISHERS for version in versions
    }
    for number in range(rounds):
        for count in PUBLISHERS:
            # The first of two is not always the same.
            order = list(versions) if number % 2 else list(reversed(versions))
            for version in order:
                answer = _measure(versions[version], count, seconds, 20 if quick else WARM_UPS)
                answers[version, count].append(answer)
    figures = [
        Figure(
            f"{version}, {count} publishers: {column}",
            unit,
            [value(each) for each in answers[version, count]],
            row=f"{version}, {count} publishers",
            column=column,
        )
        for version, count in answers
        for column, (unit, value) in COLUMNS.items()
    ]
    if baseline:
        for count in PUBLISHERS:
            figures += _compared(count, answers[THIS, count], answers[BASELINE, count])
    left_out = {} if baseline else {"comparison": "--baseline names no other version"}
    return Result(figures, {"seconds": seconds, "rounds": rounds}, left_out)


def _compared(count: int, ours: list[Answers], theirs: list[Answers]) -> list[Figure]:
    bars = {
        "acknowledged": Bar(1 - NOISE, at_least=True),
        "p50": Bar(1 + NOISE),
        # The slowest of a hundred differ more.
        "p99": Bar(1 + 2 * NOISE),
    }
    return [
        Figure(
            f"{count} publishers, {column}: {THIS} ÷ {BASELINE}",
            RATIO,
            ratios(list(map(value, ours)), list(map(value, theirs))),
            bars[column],
        )
        for column, (_, value) in COLUMNS.items()
    ]


def _measure(python: Path, count: int, seconds: float, warm_ups: int) -> Answers:
    with tempfile.TemporaryDirectory() as directory:
        environment = environment_of(log="sqlite", data_dir=directory)
        with (
            running(COMMAND, environment, python) as server,
            machine.pinned_to(machine.client_cores()),
            Publishers(server.port, count) as publishers,
        ):
            publish = functools.partial(publishers.publish, lambda number: f"t{number % 10}")
            publish(MESSAGE, until=lambda answered: answered >= warm_ups)
            end = time.monotonic() + seconds
            return publish(MESSAGE, until=lambda _: time.monotonic() > end)
