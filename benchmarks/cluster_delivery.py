"""How late messages are at the instance that took them and at another, and fan-out over instances.

One client publishes and consumes, so that one clock measures. All processes share all cores. Beside
it, nodes of Centrifugo share a Redis.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from benchmarks import load
from benchmarks.figures import RATIO, Figure, Result, ratios
from benchmarks.load import Plan
from benchmarks.peers import centrifugo, cluster
from benchmarks.peers.centrifugo import CENTRIFUGO
from benchmarks.peers.cluster import INSTANCES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.load import Outcome
    from benchmarks.peers.cluster import Cluster

# Messages a second of which each comes to ten consumers: little enough that nothing queues.
RATE = 100
READERS = 10
# The consumers of a fan-out, however many instances they are spread over.
CONSUMERS = 999
HERE, ELSEWHERE = "published here", "published at another instance"


def run(*, quick: bool) -> Result:
    """Measure the latency of delivery, here and elsewhere, and fan-out over instances."""
    seconds, rounds = (0.3, 1) if quick else (5.0, 5)
    consumers = 30 if quick else CONSUMERS
    found: dict[str, list[Outcome]] = {}
    missing = centrifugo.missing()
    with (
        cluster.servers() as servers,
        cluster.instances(servers) as running,
        contextlib.nullcontext() if missing else centrifugo.nodes() as nodes,
    ):
        for number in range(rounds):
            measured = _round(running, nodes, seconds, consumers, f"round-{number}")
            for name, outcome in measured:
                found.setdefault(name, []).append(outcome)
    parameters = {
        "rounds": rounds,
        "seconds": seconds,
        "rate": RATE,
        "readers": READERS,
        "consumers": consumers,
    }
    left_out = {centrifugo.NAME: missing} if missing else {}
    return Result([*_compared(found), *_measured(found)], parameters, left_out)


def _round(
    running: Cluster, nodes: Cluster | None, seconds: float, consumers: int, name: str
) -> Iterator[tuple[str, Outcome]]:
    plan = Plan(consumers=READERS, seconds=seconds, publishers=4, rate=RATE)
    for where, publish_at in ((HERE, 0), (ELSEWHERE, 1)):
        peer = cluster.of_topics(f"{name}-at-{publish_at}")
        yield where, load.run(peer, running.serving([0], [publish_at]), plan)
        if nodes is not None:
            outcome = load.run(CENTRIFUGO, nodes.serving([0], [publish_at]), plan)
            yield _by_centrifugo(where), outcome
    plan = Plan(consumers=consumers, seconds=seconds)
    for count in range(1, INSTANCES + 1):
        peer = cluster.of_topics(f"{name}-over-{count}")
        yield _fan_out(count), load.run(peer, running.serving(range(count), [0]), plan)
        if nodes is not None:
            outcome = load.run(CENTRIFUGO, nodes.serving(range(count), [0]), plan)
            yield _by_centrifugo(_fan_out(count)), outcome


def _by_centrifugo(what: str) -> str:
    return f"{what}, {centrifugo.NAME}"


def _fan_out(count: int) -> str:
    return f"fan-out over {count} instance{'s' if count > 1 else ''}"


def _compared(found: dict[str, list[Outcome]]) -> Iterator[Figure]:
    yield _ratio(found, ELSEWHERE, HERE, "p50", lambda outcome: outcome.p50_ms)
    for where in (HERE, ELSEWHERE):
        if _by_centrifugo(where) in found:
            yield _ratio(found, where, _by_centrifugo(where), "p50", lambda each: each.p50_ms)
    for count in range(1, INSTANCES + 1):
        name = _fan_out(count)
        if _by_centrifugo(name) in found:
            yield _ratio(
                found, name, _by_centrifugo(name), "deliveries", lambda each: each.deliveries_per_s
            )
    for count in range(2, INSTANCES + 1):
        yield _ratio(
            found, _fan_out(count), _fan_out(1), "deliveries", lambda each: each.deliveries_per_s
        )


def _ratio(
    found: dict[str, list[Outcome]],
    above: str,
    below: str,
    what: str,
    value: Callable[[Outcome], float],
) -> Figure:
    samples = ratios(*([value(outcome) for outcome in found[name]] for name in (above, below)))
    return Figure(f"{what}: {above} ÷ {below}", RATIO, samples)


def _measured(found: dict[str, list[Outcome]]) -> Iterator[Figure]:
    columns: dict[str, tuple[str, Callable[[Outcome], float]]] = {
        "deliveries": ("/s", lambda outcome: outcome.deliveries_per_s),
        "p50": ("ms", lambda outcome: outcome.p50_ms),
        "p99": ("ms", lambda outcome: outcome.p99_ms),
        "p50 until acknowledged": ("ms", lambda outcome: outcome.result["ack_p50_ns"] / 1e6),
        "processor time for a delivery": ("µs", _cpu_us),
    }
    for name, outcomes in found.items():
        for column, (unit, value) in columns.items():
            samples = [value(outcome) for outcome in outcomes]
            yield Figure(f"{name}: {column}", unit, samples, row=name, column=column)


def _cpu_us(outcome: Outcome) -> float:
    return outcome.server_cpu * 1e6 / max(float(outcome.result["deliveries"]), 1)
