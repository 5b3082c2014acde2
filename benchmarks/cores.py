"""Several workers on one machine, with one log, beside the service in one process.

All processes of the service may use all cores, of which the load client takes one for itself as far
as it needs it. So processor time is measured as well: it tells what more cores would give.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from benchmarks import log_process, machine
from benchmarks.contest import RIPTIDE, Contest, Entry
from benchmarks.figures import RATIO, Bar, Figure, Result, ratios
from benchmarks.load import Outcome, Plan
from benchmarks.peers import riptide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

WORKERS = (1, 2, 3)
PUBLISHERS = 50
# Before each measurement.
WARM_UP_S = 0.2


def run(*, quick: bool) -> Result:
    """Measure fan-out, publishing and letting consumers in, over HTTP, and appending without it."""
    counts = WORKERS[:2] if quick else WORKERS
    seconds, rounds = (0.2, 1) if quick else (1.5, 3)
    entries = [entry for count in counts for entry in _entries(count, seconds, quick=quick)]
    contest = Contest(entries, rounds).hold()
    figures = [*_compared(contest, counts), *_measured(contest, counts)]
    figures += _appending(counts[-1], seconds, rounds)
    return Result(figures, contest.parameters(), contest.left_out)


@dataclass(frozen=True)
class _Load:
    """A load over HTTP, and what is counted of its outcome."""

    name: str
    log: str
    plan: Plan
    # What its rate counts.
    what: str
    value: Callable[[Outcome], float]
    # How many things the server has done, for its processor time.
    done: Callable[[Outcome], float]


def _acknowledged(outcome: Outcome) -> float:
    return float(outcome.result["published"] / outcome.result["publish_seconds"])


def _published(outcome: Outcome) -> float:
    return float(outcome.result["published"])


def _loads(seconds: float, *, quick: bool) -> list[_Load]:
    consumers = 30 if quick else 1_000
    publishers = 3 * PUBLISHERS
    return [
        _Load(
            f"fan-out to {consumers:,} consumers",
            "memory",
            Plan(consumers=consumers, seconds=seconds),
            "deliveries",
            lambda outcome: outcome.deliveries_per_s,
            lambda outcome: float(outcome.result["deliveries"]),
        ),
        _Load(
            "1 publisher",
            "sqlite",
            Plan(consumers=0, seconds=seconds, publishers=1, window=1),
            "messages",
            _acknowledged,
            _published,
        ),
        _Load(
            f"{publishers} publishers",
            "sqlite",
            Plan(consumers=0, seconds=seconds, publishers=publishers, window=publishers),
            "messages",
            _acknowledged,
            _published,
        ),
        _Load(
            f"{consumers:,} consumers come back at once",
            "memory",
            Plan(
                consumers=consumers,
                seconds=seconds,
                rate=10,
                connecting=0,
                storm_after=seconds / 2,
                away=seconds / 2,
            ),
            "consumers",
            lambda outcome: consumers / max(outcome.result["storm_seconds"], 0.001),
            lambda _: float(consumers),
        ),
    ]


def _entries(count: int, seconds: float, *, quick: bool) -> Iterator[Entry]:
    cores = os.sched_getaffinity(0)
    for load in _loads(seconds, quick=quick):
        serve = functools.partial(riptide.serve, cores=cores, workers=count, log=load.log)
        yield Entry(_named(load, count), replace(RIPTIDE, serve=serve), load.plan)


def _named(load: _Load, count: int) -> str:
    return f"{load.name}, {'one process' if count == 1 else f'{count} workers'}"


def _compared(contest: Contest, counts: Sequence[int]) -> Iterator[Figure]:
    quick = len(counts) < len(WORKERS)
    for load in _loads(1, quick=quick):
        alone, *_ = counts
        for count in counts[1:]:
            above, below = _named(load, count), _named(load, alone)
            bar = Bar(1, at_least=True) if "publishers" in load.name else None
            yield from contest.ratio(above, below, load.what, load.value, bar)
            if load.log == "sqlite":
                bar = Bar(2) if bar else None
                yield from contest.ratio(above, below, "p99 until acknowledged", _ack_p99_ms, bar)


def _measured(contest: Contest, counts: Sequence[int]) -> Iterator[Figure]:
    quick = len(counts) < len(WORKERS)
    for load in _loads(1, quick=quick):
        for count in counts:
            name = _named(load, count)
            yield from contest.figure(name, "rate", "/s", load.value)
            if load.log == "sqlite":
                yield from contest.figure(name, "p99", "ms", _ack_p99_ms)
            elif "fan-out" in load.name:
                yield from contest.figure(name, "p99", "ms", lambda outcome: outcome.p99_ms)
            yield from contest.figure(
                name,
                "processor time for each",
                "µs",
                functools.partial(_cpu_us, load.done),
            )


def _ack_p99_ms(outcome: Outcome) -> float:
    return float(outcome.result["ack_p99_ns"] / 1e6)


def _cpu_us(done: Callable[[Outcome], float], outcome: Outcome) -> float:
    return outcome.server_cpu * 1e6 / max(done(outcome), 1)


@dataclass(frozen=True)
class _Appended:
    """What processes have appended together, without HTTP, each following all topics."""

    rate: float
    p99_ms: float
    process_cpu_us: float
    # Of the process of the log, if there is one.
    log_cpu_us: float


def _appending(workers: int, seconds: float, rounds: int) -> Iterator[Figure]:
    names = {
        f"appends, one process, {PUBLISHERS}": (1, PUBLISHERS),
        f"appends, one process, {workers * PUBLISHERS}": (1, workers * PUBLISHERS),
        f"appends, {workers} processes, {PUBLISHERS}": (workers, PUBLISHERS),
        "appends, one process, 1": (1, 1),
        f"appends, {workers} processes, 1": (workers, 1),
    }
    found: dict[str, list[_Appended]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, (processes, publishers) in names.items():
            found[name].append(_append(processes, publishers, seconds))
    _, alone, shared, *_ = found
    rates = ratios([each.rate for each in found[shared]], [each.rate for each in found[alone]])
    yield Figure(f"appended: {shared} ÷ {alone}", RATIO, rates)
    p99s = ratios([each.p99_ms for each in found[shared]], [each.p99_ms for each in found[alone]])
    yield Figure(f"p99: {shared} ÷ {alone}", RATIO, p99s)
    columns: dict[str, tuple[str, Callable[[_Appended], float]]] = {
        "rate": ("/s", lambda each: each.rate),
        "p99": ("ms", lambda each: each.p99_ms),
        "processor time for each": ("µs", lambda each: each.process_cpu_us + each.log_cpu_us),
        "of it in the process of the log": ("µs", lambda each: each.log_cpu_us),
    }
    for name, appended in found.items():
        for column, (unit, value) in columns.items():
            samples = [value(each) for each in appended]
            yield Figure(f"{name}: {column}", unit, samples, row=name, column=column)


def _append(processes: int, publishers: int, seconds: float) -> _Appended:
    with tempfile.TemporaryDirectory() as directory:
        if processes == 1:
            return _together(directory, [], 1, publishers, seconds)
        with log_process.running(Path(directory)) as log:
            return _together(log.path, log.descriptors, processes, publishers, seconds, log.pid)


def _together(  # noqa: PLR0913, PLR0917  # each is a thing of its own
    place: str,
    descriptors: Sequence[int],
    processes: int,
    publishers: int,
    seconds: float,
    log: int | None = None,
) -> _Appended:
    """Let processes append at the same time.

    Raises:
        RuntimeError: one of them failed.

    """
    command = [sys.executable, "-m", "benchmarks.appender", place, str(publishers)]
    started = [
        subprocess.Popen(  # noqa: S603  # our own module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=descriptors
        )
        for _ in range(processes)
    ]
    try:
        for process in started:
            _line_of(process)
        _publish(started, min(seconds, WARM_UP_S))
        before = 0.0 if log is None else machine.cpu_seconds(log)
        results = _publish(started, seconds)
        after = 0.0 if log is None else machine.cpu_seconds(log)
    finally:
        for process in started:
            process.communicate()
    appended = sum(result["appended"] for result in results)
    return _Appended(
        sum(result["appended"] / result["seconds"] for result in results),
        max(result["p99_s"] for result in results) * 1e3,
        sum(result["cpu_s"] for result in results) * 1e6 / appended,
        (after - before) * 1e6 / appended,
    )


def _publish(started: Sequence[subprocess.Popen[bytes]], seconds: float) -> list[dict[str, float]]:
    for process in started:
        assert process.stdin is not None  # noqa: S101  # it was asked for
        process.stdin.write(b"%g\n" % seconds)
        process.stdin.flush()
    return [orjson.loads(_line_of(process)) for process in started]


def _line_of(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None  # noqa: S101  # it was asked for
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("a process that appends has ended")
    return line
