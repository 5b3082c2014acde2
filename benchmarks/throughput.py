"""Deliveries per second to many consumers of the real service, with telemetry on and off.

Each run has a fresh service. The order is on, off, off, on, ..., and ratios compare neighbours.
Off means ``OTEL_SDK_DISABLED=true``: the same calls reach a lifecycle that does nothing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import machine
from benchmarks.consumers import MARK, Consumers, count_messages
from benchmarks.figures import RATIO, Bar, Figure, Result, ratios
from benchmarks.publisher import Publishing
from benchmarks.scraping import scrape
from benchmarks.service import riptide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.service import Server

BAR = Bar(0.98, at_least=True)
SETTLE_DEADLINE_S = 120.0
PAYLOAD = b'{"sensor":"a-17","reading":21.75,"unit":"C","note":"%b"}' % MARK
RING_BYTES = 1 << 30


class Load(NamedTuple):
    """How many consumers get how many messages, published in batches of how many."""

    consumers: int
    messages: int
    batch: int

    @property
    def deliveries(self) -> int:
        """How many messages arrive in all."""
        return self.consumers * self.messages

    def batches(self) -> Iterator[bytes]:
        """Make the bodies to publish."""
        body = b"\n".join([PAYLOAD] * self.batch)
        yield from [body] * (self.messages // self.batch)


class Run(NamedTuple):
    """The speed of one run: deliveries per second, also of the server's processor time."""

    deliveries_per_s: float
    deliveries_per_cpu_s: float


QUICK = {"in batches of 100": Load(10, 400, 100), "one by one": Load(10, 40, 1)}
FULL = {"in batches of 100": Load(1_000, 8_000, 100), "one by one": Load(1_000, 1_000, 1)}


def run(*, quick: bool) -> Result:
    """Measure both ways to publish."""
    loads, pairs = (QUICK, 1) if quick else (FULL, 5)
    figures = []
    for name, load in loads.items():
        with_telemetry, without = measure_pairs(load, pairs)
        figures += _figures(f"published {name}", with_telemetry, without)
    parameters = {name: load._asdict() for name, load in loads.items()}
    return Result(figures, {"pairs": pairs, "payload_bytes": len(PAYLOAD), **parameters})


def measure_pairs(load: Load, pairs: int) -> tuple[list[Run], list[Run]]:
    """Return the runs with telemetry and those without, neighbours at the same place."""
    runs: dict[bool, list[Run]] = {True: [], False: []}
    for pair in range(pairs):
        for telemetry in (True, False) if pair % 2 == 0 else (False, True):
            runs[telemetry].append(measure(load, telemetry=telemetry))
    return runs[True], runs[False]


def measure(load: Load, *, telemetry: bool) -> Run:
    """Serve the load once."""
    ring = {"ring_messages": load.messages, "ring_bytes": RING_BYTES}
    with riptide(telemetry=telemetry, max_connections=load.consumers, **ring) as server:
        return measure_on(server, load, has_metrics=telemetry)


def measure_on(
    server: Server,
    load: Load,
    *,
    has_metrics: bool = True,
    halfway: Callable[[], object] = lambda: None,
) -> Run:
    """Serve the load with a running server; call ``halfway`` when half of it is published.

    Raises:
        RuntimeError: messages are missing, at the consumers or in the service's metrics.

    """

    def batches() -> Iterator[bytes]:
        for number, body in enumerate(load.batches()):
            if number == load.messages // load.batch // 2:
                halfway()
            yield body

    with machine.pinned_to(machine.client_cores()):
        with Consumers(server.port, load.consumers) as consumers:
            publishing = Publishing(server.port, batches)
            cpu_before, started = machine.cpu_seconds(server.pid), time.perf_counter()
            publishing.start()
            received = count_messages(consumers, load.deliveries)
            elapsed = time.perf_counter() - started
            cpu = machine.cpu_seconds(server.pid) - cpu_before
            publishing.join()
        _check(load, received, publishing.failure)
        if has_metrics:
            _check_metrics(load, server.port)
    # The kernel counts processor time in hundredths of a second.
    return Run(load.deliveries / elapsed, load.deliveries / max(cpu, 0.01))


def _figures(name: str, with_telemetry: list[Run], without: list[Run]) -> list[Figure]:
    on, cpu_on = zip(*with_telemetry, strict=True)
    off, cpu_off = zip(*without, strict=True)
    return [
        Figure(f"{name}: throughput with telemetry ÷ without", RATIO, ratios(on, off), BAR),
        Figure(
            f"{name}: the same per second of the server's processor time",
            RATIO,
            ratios(cpu_on, cpu_off),
            BAR,
        ),
        Figure(f"{name}: with telemetry", "deliveries/s", on),
        Figure(f"{name}: without", "deliveries/s", off),
    ]


def _check(load: Load, received: int, failure: Exception | None) -> None:
    if failure is not None:
        raise RuntimeError("publishing failed") from failure
    if received != load.deliveries:
        raise RuntimeError(f"{received} messages were received, and not {load.deliveries}")


def _check_metrics(load: Load, port: int) -> None:
    deadline = time.monotonic() + SETTLE_DEADLINE_S
    # The service may not have noticed yet that the streams have ended.
    while (page := scrape(port)).value("riptide_streaming_active_connections"):
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    unaccounted = page.value("riptide_streaming_messages_unaccounted")
    sent = page.value("riptide_streaming_messages_sent_total")
    if unaccounted != 0 or sent != load.deliveries:
        raise RuntimeError(f"the service counts {sent} sent and {unaccounted} unaccounted")
