"""What an instance and the servers of NATS pay for thousands of topics with a consumer each.

The same number of consumers of one topic is measured beside, so that what a consumer costs anyway
can be told from what its topic does.
"""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import machine
from benchmarks.consumers import Consumers
from benchmarks.figures import Figure, Result
from benchmarks.peers import cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.peers.cluster import Cluster, Servers

TOPICS = 10_000
# Threads that open streams, each one after the other.
OPENING = 32
MICROSECONDS = 1e6
PERCENT = 100


@dataclass(frozen=True)
class _Cost:
    """What so many streams cost."""

    seconds: float
    instance_cpu_us: float
    servers_cpu_us: float
    instance_kb: float
    servers_kb: float
    # Shares of a core, in percent, while nothing is published.
    instance_idle: float
    servers_idle: float


def run(*, quick: bool) -> Result:
    """Open a stream on each of many topics, and as many on one; leave them alone for a while."""
    count, idle_s, rounds = (100, 0.5, 1) if quick else (TOPICS, 10.0, 3)
    kinds: dict[str, Callable[[int], str]] = {
        f"{count:,} topics": lambda number: f"topic-{number}",
        f"one topic with {count:,} consumers": lambda _: "topic",
    }
    found: dict[str, list[_Cost]] = {name: [] for name in kinds}
    with cluster.servers() as servers:
        for _ in range(rounds):
            for name, topic_of in kinds.items():
                topics = [topic_of(number) for number in range(count)]
                with cluster.instances(servers, 1) as running:
                    found[name].append(_measure(running, servers, topics, idle_s))
    return Result(
        list(_measured(found)), {"rounds": rounds, "streams": count, "idle_seconds": idle_s}
    )


def _measure(running: Cluster, servers: Servers, topics: Sequence[str], idle_s: float) -> _Cost:
    (instance,) = running.instances

    def cpu() -> tuple[float, float]:
        return instance.cpu_seconds(), sum(map(machine.cpu_seconds, servers.sessions))

    def memory() -> tuple[float, float]:
        return instance.resident_bytes(), sum(map(machine.resident_bytes, servers.sessions))

    count = len(topics)
    cpu_before, memory_before, began = cpu(), memory(), time.perf_counter()
    with _open(instance.port, topics):
        took = time.perf_counter() - began
        cpu_open, memory_open = cpu(), memory()
        time.sleep(idle_s)
        cpu_idle = cpu()
    opening = [(after - before) for after, before in zip(cpu_open, cpu_before, strict=True)]
    grown = [(after - before) for after, before in zip(memory_open, memory_before, strict=True)]
    idle = [(after - before) for after, before in zip(cpu_idle, cpu_open, strict=True)]
    return _Cost(
        took,
        opening[0] * MICROSECONDS / count,
        opening[1] * MICROSECONDS / count,
        grown[0] / 1_000 / count,
        grown[1] / 1_000 / count,
        idle[0] / idle_s * PERCENT,
        idle[1] / idle_s * PERCENT,
    )


@contextlib.contextmanager
def _open(port: int, topics: Sequence[str]) -> Iterator[None]:
    """Have a stream open on each of these topics, within this context."""

    def open_one(topic: str) -> Consumers:
        return Consumers(port, 1, topic).__enter__()

    with contextlib.ExitStack() as stack:
        with ThreadPoolExecutor(OPENING) as pool:
            for consumers in pool.map(open_one, topics):
                stack.push(consumers)
        yield


def _measured(found: dict[str, list[_Cost]]) -> Iterator[Figure]:
    columns: dict[str, tuple[str, Callable[[_Cost], float]]] = {
        "until all are open": ("s", lambda cost: cost.seconds),
        "processor time of the instance for each": ("µs", lambda cost: cost.instance_cpu_us),
        "of the servers": ("µs", lambda cost: cost.servers_cpu_us),
        "memory of the instance for each": ("kB", lambda cost: cost.instance_kb),
        "of the three servers": ("kB", lambda cost: cost.servers_kb),
        "the instance afterwards": ("% of a core", lambda cost: cost.instance_idle),
        "the servers afterwards": ("% of a core", lambda cost: cost.servers_idle),
    }
    for name, costs in found.items():
        for column, (unit, value) in columns.items():
            samples = [value(cost) for cost in costs]
            yield Figure(f"{name}: {column}", unit, samples, row=name, column=column)
