"""The delivery latency that telemetry adds: the same slow load with telemetry on and off.

Each consumer's read of a message is a sample: the time since the message was published. Publisher
and consumers share one thread of one process, so there is one clock, and no message is published
before all consumers have the one before.

Two runs of the same service differ by more than telemetry adds. So the bars are for a measurement
from inside: the time that recording takes between a message's acceptance and its last write, by
which the last consumers get the message later. Recording after the last write delays nobody.
"""

from __future__ import annotations

import selectors
import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import machine
from benchmarks.consumers import MARK, READ_BYTES, TIMEOUT_S, Consumers
from benchmarks.figures import Bar, Figure, Result
from benchmarks.publisher import Publisher
from benchmarks.scrape import SPARE_FILES
from benchmarks.service import environment_of, riptide, running

if TYPE_CHECKING:
    from collections.abc import Iterator

NANOSECONDS = 1_000_000_000
MICROSECONDS = 1_000_000
PAYLOAD = b'{"sensor":"a-17","reading":21.75,"note":"%b"}' % MARK
# Messages that do not count, because the service has not warmed up yet.
WARM_UP = 5


class Load(NamedTuple):
    """How many messages go to how many consumers, and the pause before each."""

    consumers: int
    messages: int
    pause_s: float


class Run(NamedTuple):
    """One run, in microseconds: latencies, and the server's processor time for each delivery."""

    p50: float
    p99: float
    processor: float


FULL = {
    Load(100, 200, 0.01): Bar(50),
    Load(1_000, 60, 0.03): Bar(100),
    Load(10_000, 12, 0.1): Bar(500),
}
QUICK = {Load(10, 10, 0.005): Bar(50)}


def run(*, quick: bool) -> Result:
    """Measure at each number of consumers, on and off in turn."""
    loads, pairs = (QUICK, 1) if quick else (FULL, 5)
    limit = machine.open_files_limit() - SPARE_FILES
    figures: list[Figure] = []
    used = []
    for wanted, bar in loads.items():
        load = wanted._replace(consumers=min(wanted.consumers, limit))
        used.append(load._asdict())
        figures += _compare(load, bar, pairs)
    return Result(figures, {"pairs": pairs, "loads": used})


def measure(load: Load, *, telemetry: bool) -> Run:
    """Serve the load once."""
    with (
        riptide(telemetry=telemetry, max_connections=load.consumers) as server,
        machine.pinned_to(machine.client_cores()),
        Consumers(server.port, load.consumers) as consumers,
    ):
        publisher = Publisher(server.port)
        before = machine.cpu_seconds(server.pid)
        try:
            messages = list(_deliver(consumers, publisher, load))
        finally:
            publisher.close()
        processor_s = machine.cpu_seconds(server.pid) - before
    latencies = [latency for message in messages[WARM_UP:] for latency in message]
    cuts = statistics.quantiles(latencies, n=100)
    return Run(
        cuts[49] / NANOSECONDS * MICROSECONDS,
        cuts[98] / NANOSECONDS * MICROSECONDS,
        processor_s / len(messages) / load.consumers * MICROSECONDS,
    )


class Recording(NamedTuple):
    """How long recording one message took, in microseconds: before its last write, and in all."""

    on_the_way: float
    total: float


def measure_recording(load: Load) -> list[Recording]:
    """Serve the load with a stopwatch on all recording."""
    with (
        running(
            ["-m", "benchmarks.timed_service"], environment_of(max_connections=load.consumers)
        ) as server,
        machine.pinned_to(machine.client_cores()),
        Consumers(server.port, load.consumers) as consumers,
    ):
        publisher = Publisher(server.port)
        taken = []
        try:
            for _ in _deliver(consumers, publisher, load):
                server.stdin.write(b"\n")
                server.stdin.flush()
                nanoseconds = map(int, server.stdout.readline().split())
                taken.append(Recording(*(ns / NANOSECONDS * MICROSECONDS for ns in nanoseconds)))
        finally:
            publisher.close()
    return taken[WARM_UP:]


def _deliver(consumers: Consumers, publisher: Publisher, load: Load) -> Iterator[list[int]]:
    """Publish message after message and yield the latencies of each, in nanoseconds.

    Raises:
        RuntimeError: a message did not reach everybody.

    """
    buffer = bytearray(READ_BYTES)
    with selectors.DefaultSelector() as selector:
        for connection in consumers.sockets:
            selector.register(connection, selectors.EVENT_READ, connection)
        for _ in range(WARM_UP + load.messages):
            time.sleep(load.pause_s)
            latencies: list[int] = []
            published = time.monotonic_ns()
            publisher.send(PAYLOAD)
            while len(latencies) < load.consumers:
                ready = selector.select(TIMEOUT_S)
                if not ready:
                    raise RuntimeError(f"{len(latencies)} of {load.consumers} got a message")
                for key, _ in ready:
                    size = key.data.recv_into(buffer)
                    latencies.append(time.monotonic_ns() - published)
                    if buffer.count(MARK, 0, size) != 1:
                        raise RuntimeError(f"a read is not one message: {bytes(buffer[:size])!r}")
            publisher.receive()
            yield latencies


def _compare(load: Load, bar: Bar, pairs: int) -> list[Figure]:
    runs: dict[bool, list[Run]] = {True: [], False: []}
    for pair in range(pairs):
        for telemetry in (True, False) if pair % 2 == 0 else (False, True):
            runs[telemetry].append(measure(load, telemetry=telemetry))
    recordings = [recording for _ in range(pairs) for recording in measure_recording(load)]
    at = f"{load.consumers:,} consumers"
    figures = [
        Figure(
            f"{at}: latency of the last ones, added by recording",
            "µs",
            [recording.on_the_way for recording in recordings],
            bar,
        ),
        Figure(
            f"{at}: recording of a message in all",
            "µs",
            [recording.total for recording in recordings],
        ),
    ]
    for column, name in (
        ("p99", "p99 of the latency"),
        ("p50", "median latency"),
        ("processor", "server's processor time for a delivery"),
    ):
        on = [getattr(run, column) for run in runs[True]]
        off = [getattr(run, column) for run in runs[False]]
        added = [with_it - without for with_it, without in zip(on, off, strict=True)]
        what = f"{at}: {name}"
        figures += [
            Figure(f"{what}, with telemetry less without", "µs", added),
            Figure(f"{what}, with telemetry", "µs", on),
            Figure(f"{what}, without", "µs", off),
        ]
    return figures
