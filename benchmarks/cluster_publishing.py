"""What one, two and three instances acknowledge over the same three servers of NATS.

Every load has three topics, and with more instances each topic still has one instance that writes
it, except where the load is about several writers. All processes share all cores, so more instances
cannot do more: what they lose is what a cluster costs. Beside them, nats-py publishes to the same
servers itself: without HTTP, ids, or anybody who follows; and nodes of Centrifugo share a Redis,
which keeps nothing on disk.
"""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from benchmarks import load, machine
from benchmarks.figures import RATIO, Bar, Figure, Result, ratios
from benchmarks.load import Plan
from benchmarks.peers import centrifugo, cluster
from benchmarks.peers.centrifugo import CENTRIFUGO
from benchmarks.peers.cluster import INSTANCES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.load import Outcome
    from benchmarks.peers.cluster import Cluster, Servers

TOPICS = 3
CONTENDERS = 50
NATS_PY = "nats-py"
KEPT = Bar(0.6, at_least=True)
FAIR = Bar(2.5)
# Before nats-py is measured, as the load client sends some messages before it measures.
WARM_UP_S = 0.2


@dataclass(frozen=True)
class _Load:
    """So many publishers at all topics together, each with so many messages a request."""

    name: str
    publishers: int
    batch: int = 1
    bar: Bar | None = None


LOADS = (
    _Load("one at a time on each topic", TOPICS),
    _Load("200 publishers", 201, bar=KEPT),
    _Load("batches of 100", 21, 100, KEPT),
)


@dataclass(frozen=True)
class _Published:
    """What was acknowledged in one run, with the processor time of instances and servers."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    # By the instance.
    shares: Sequence[int] = ()

    @property
    def fairness(self) -> float:
        """The most that an instance got acknowledged, as a multiple of the least."""
        return max(self.shares) / max(min(self.shares), 1)


def run(*, quick: bool) -> Result:
    """Measure publishing, with and without several writers of a topic, and nats-py's own."""
    seconds, rounds = (0.3, 1) if quick else (3.0, 5)
    found: dict[str, list[_Published]] = {}
    missing = centrifugo.missing()
    for _ in range(rounds):
        # New ones each time: a round stores hundreds of megabytes.
        with (
            cluster.servers() as servers,
            cluster.instances(servers) as running,
            contextlib.nullcontext() if missing else centrifugo.nodes() as nodes,
        ):
            for name, published in _round(running, servers, nodes, seconds):
                found.setdefault(name, []).append(published)
    parameters = {
        "rounds": rounds,
        "seconds": seconds,
        "loads": [vars(each) for each in LOADS],
        "contenders_of_an_instance": CONTENDERS,
    }
    left_out = {centrifugo.NAME: missing} if missing else {}
    return Result([*_compared(found), *_measured(found)], parameters, left_out)


def _round(
    running: Cluster, servers: Servers, nodes: Cluster | None, seconds: float
) -> Iterator[tuple[str, _Published]]:
    for number, each in enumerate(LOADS):
        plan = _plan(each.publishers, each.batch, seconds)
        for count in range(1, INSTANCES + 1):
            # The instance that a topic is written at.
            at = [topic % count for topic in range(TOPICS)]
            topics = [f"load-{number}-{count}-{topic}" for topic in range(TOPICS)]
            yield _named(each, count), _publish(running, at, topics, plan)
        yield f"{each.name}, {NATS_PY}", _publish_by_nats_py(servers, each, seconds)
        if nodes is not None:
            for count in (1, INSTANCES):
                outcome = load.run(CENTRIFUGO, nodes.serving([0], range(count)), plan)
                yield _by_centrifugo(each, count), _published(outcome)
    plan = _plan(INSTANCES * CONTENDERS, 1, seconds)
    for count in (1, INSTANCES):
        yield _contended(count), _publish(running, range(count), [f"contended-{count}"], plan)


def _plan(publishers: int, batch: int, seconds: float) -> Plan:
    return Plan(
        consumers=0,
        seconds=seconds,
        publishers=publishers,
        window=publishers * batch,
        batch=batch,
    )


def _named(each: _Load, count: int) -> str:
    return f"{each.name}, {_instances(count)}"


def _by_centrifugo(each: _Load, count: int) -> str:
    return f"{each.name}, {centrifugo.NAME}, {'1 node' if count == 1 else f'{count} nodes'}"


def _contended(count: int) -> str:
    return f"one topic, {INSTANCES * CONTENDERS} publishers, {_instances(count)}"


def _instances(count: int) -> str:
    return "1 instance" if count == 1 else f"{count} instances"


def _publish(running: Cluster, at: Sequence[int], topics: Sequence[str], plan: Plan) -> _Published:
    outcome = load.run(cluster.of_topics(*topics), running.serving([0], at), plan)
    return _published(outcome)


def _published(outcome: Outcome) -> _Published:
    result = outcome.result
    return _Published(
        result["published"] / result["publish_seconds"],
        result["ack_p50_ns"] / 1e6,
        result["ack_p99_ns"] / 1e6,
        outcome.server_cpu * 1e6 / max(result["published"], 1),
        result["acknowledged_at"],
    )


def _publish_by_nats_py(servers: Servers, each: _Load, seconds: float) -> _Published:
    """Let a process publish by nats-py alone.

    Raises:
        RuntimeError: it failed.

    """
    module = ["-m", "benchmarks.nats_publisher"]
    arguments = [servers.urls, str(each.publishers), str(each.batch)]
    process = subprocess.Popen(  # noqa: S603  # our own module
        [sys.executable, *module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        _line_of(process)
        _publish_for(process, min(seconds, WARM_UP_S))
        before = sum(map(machine.cpu_seconds, servers.sessions))
        result = _publish_for(process, seconds)
        cpu = sum(map(machine.cpu_seconds, servers.sessions)) - before + result["cpu_s"]
    finally:
        process.communicate()
    return _Published(
        result["published"] / result["seconds"],
        result["p50_s"] * 1e3,
        result["p99_s"] * 1e3,
        cpu * 1e6 / max(result["published"], 1),
    )


def _publish_for(process: subprocess.Popen[bytes], seconds: float) -> dict[str, float]:
    assert process.stdin is not None  # noqa: S101  # it was asked for
    process.stdin.write(b"%g\n" % seconds)
    process.stdin.flush()
    result: dict[str, float] = orjson.loads(_line_of(process))
    return result


def _line_of(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None  # noqa: S101  # it was asked for
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("the process that publishes by nats-py has ended")
    return line


def _compared(found: dict[str, list[_Published]]) -> Iterator[Figure]:
    for each in LOADS:
        alone = _named(each, 1)
        for count in range(2, INSTANCES + 1):
            bar = each.bar if count == INSTANCES else None
            yield _ratio(found, _named(each, count), alone, bar)
        yield _ratio(found, alone, f"{each.name}, {NATS_PY}")
        for count in (1, INSTANCES):
            if _by_centrifugo(each, count) in found:
                yield _ratio(found, _named(each, count), _by_centrifugo(each, count))
    several = _contended(INSTANCES)
    yield _ratio(found, several, _contended(1))
    yield Figure(
        f"{several}: acknowledged, most ÷ least",
        RATIO,
        [each.fairness for each in found[several]],
        FAIR,
    )


def _ratio(
    found: dict[str, list[_Published]], above: str, below: str, bar: Bar | None = None
) -> Figure:
    samples = ratios(*([each.per_second for each in found[name]] for name in (above, below)))
    return Figure(f"acknowledged: {above} ÷ {below}", RATIO, samples, bar)


def _measured(found: dict[str, list[_Published]]) -> Iterator[Figure]:
    columns = {
        "acknowledged": "messages/s",
        "p50 until acknowledged": "ms",
        "p99 until acknowledged": "ms",
        "processor time for each": "µs",
    }
    for (name, published), (number, (column, unit)) in itertools.product(
        found.items(), enumerate(columns.items())
    ):
        samples = [
            (each.per_second, each.p50_ms, each.p99_ms, each.cpu_us)[number] for each in published
        ]
        yield Figure(f"{name}: {column}", unit, samples, row=name, column=column)
