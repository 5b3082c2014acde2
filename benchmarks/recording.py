"""What it costs to record one event, beside what others would charge for it.

Each statement is timed as it stands, in a loop that costs a few nanoseconds itself ("empty loop"),
with the collector off, on one core. Repetitions of all statements are interleaved, and short, so
that whatever else the machine does disturbs few of them.
"""

from __future__ import annotations

import itertools
import time
import timeit
from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, Counter, Histogram

from benchmarks import machine
from benchmarks.figures import RATIO, Bar, Figure, Result, ratios
from riptide_telemetry import (
    CloseReason,
    DropReason,
    ErrorType,
    MessageBatch,
    ReconnectionOutcome,
    Source,
    StreamingMetrics,
    StreamLifecycleManager,
    StreamProtocol,
    catalog,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

NANOSECONDS = 1_000_000_000
MILLISECOND_NS = 1_000_000
BASIC_RECORDINGS = 100_000
# Executed before each repetition.
SETUP = "message, old_message, batch, mixed = batches()"
BATCH = 100
FAN_OUT = 1_000

# What is executed, by the name of its figure. The lifecycle's clock is the real one, so an
# observed latency begins at nothing in each repetition and grows while the loop runs.
STATEMENTS = {
    "empty loop": "pass",
    "an addition to a slot": "state.sent += 1",
    "counters of a sent message: StreamingMetrics.sse.record_item_sent": (
        "sse_record_item_sent(1, 200)"
    ),
    "the same, the protocol an argument: StreamingMetrics.record_item_sent": (
        "record_item_sent(protocol, 1, 200)"
    ),
    "a sent message, latency observed: items_sent": ("items_sent('connection', message, source)"),
    "the same, in another bucket than the one before": (
        "items_sent('connection', old_message, source); items_sent('connection', message, source)"
    ),
    f"a sent message in a batch of {BATCH}: items_sent": (
        "items_sent('connection', batch, source)"
    ),
    f"a sent message in a batch of {BATCH} that were published 1 ms apart: items_sent": (
        "items_sent('connection', mixed, source)"
    ),
    f"counters of a sent message in a fan-out to {FAN_OUT:,}: items_fanned_out": (
        "items_fanned_out(protocol, 'topic', untimed, consumers)"
    ),
    f"a sent message in a fan-out to {FAN_OUT:,}, latency observed: items_fanned_out": (
        "for _ in consumers: written.append(clock())\n"
        "items_fanned_out(protocol, 'topic', message, written)\n"
        "written.clear()"
    ),
    "opentelemetry counter.add": "add(1, attributes)",
    "opentelemetry histogram.record": "record(0.003, attributes)",
    "prometheus_client child inc": "inc()",
    "prometheus_client child observe": "observe(0.003)",
}
(
    _,
    _,
    COUNTERS,
    _,
    SENT,
    SENT_ELSEWHERE,
    SENT_IN_BATCH,
    SENT_IN_MIXED_BATCH,
    FANNED_OUT_COUNTERS,
    FANNED_OUT,
    OTEL_ADD,
    OTEL_RECORD,
    PROMETHEUS_INC,
    PROMETHEUS_OBSERVE,
) = STATEMENTS
BARS = {
    COUNTERS: Bar(100),
    SENT: Bar(250),
    FANNED_OUT_COUNTERS: Bar(100),
    FANNED_OUT: Bar(250),
}
EVERY_RECORDING = (
    "record_connection(protocol)",
    "record_item_sent(protocol, 1, 200)",
    "record_item_received(protocol)",
    "record_item_dropped(protocol, drop_reason)",
    "record_error(protocol, error_type)",
    "record_reconnection(protocol, reconnection)",
    "record_disconnection(protocol, 1.5, close_reason)",
)
EVERY_IN_TURN = "all seven record_ methods in turn, an opening and a closing among them"


def run(*, quick: bool) -> Result:
    """Time every statement."""
    number, repetitions = (200, 3) if quick else (1_000, 301)
    with machine.pinned_to(machine.server_cores()):
        costs = _time(STATEMENTS, number, repetitions)
        basic = _time(
            {
                "sse.record_item_sent": "sse_record_item_sent(1, 200)",
                "record_item_sent": "record_item_sent(protocol, 1, 200)",
                EVERY_IN_TURN: "; ".join(EVERY_RECORDING),
            },
            number // len(EVERY_RECORDING),
            repetitions,
        )
    costs[SENT_ELSEWHERE] = [cost / 2 for cost in costs[SENT_ELSEWHERE]]
    for name in (SENT_IN_BATCH, SENT_IN_MIXED_BATCH):
        costs[name] = [cost / BATCH for cost in costs[name]]
    for name in (FANNED_OUT_COUNTERS, FANNED_OUT):
        costs[name] = [cost / FAN_OUT for cost in costs[name]]
    basic[EVERY_IN_TURN] = [cost / len(EVERY_RECORDING) for cost in basic[EVERY_IN_TURN]]
    figures = _comparisons(costs)
    figures += [Figure(name, "ns", costs[name], BARS.get(name)) for name in STATEMENTS]
    figures += [
        Figure(
            f"{BASIC_RECORDINGS:,} basic recordings: {name}",
            "ms",
            [cost * BASIC_RECORDINGS / 1_000_000 for cost in samples],
            None if name == EVERY_IN_TURN else Bar(10),
        )
        for name, samples in basic.items()
    ]
    return Result(figures, {"executions": number, "repetitions": repetitions})


def _comparisons(costs: dict[str, Sequence[float]]) -> list[Figure]:
    # What items_sent does with the instruments of others: two counters and a histogram.
    by_otel = [2 * a + o for a, o in zip(costs[OTEL_ADD], costs[OTEL_RECORD], strict=True)]
    by_prometheus = [
        2 * i + o for i, o in zip(costs[PROMETHEUS_INC], costs[PROMETHEUS_OBSERVE], strict=True)
    ]
    return [
        Figure(
            "counter.add ÷ counters of a sent message",
            RATIO,
            ratios(costs[OTEL_ADD], costs[COUNTERS]),
            Bar(20, at_least=True),
        ),
        Figure(
            "two counter.add and a histogram.record ÷ items_sent",
            RATIO,
            ratios(by_otel, costs[SENT]),
        ),
        Figure(
            "two counter.add and a histogram.record ÷ items_fanned_out",
            RATIO,
            ratios(by_otel, costs[FANNED_OUT]),
        ),
        Figure("two inc and an observe ÷ items_sent", RATIO, ratios(by_prometheus, costs[SENT])),
    ]


def _time(statements: dict[str, str], number: int, repetitions: int) -> dict[str, Sequence[float]]:
    """Return nanoseconds an execution, one sample a repetition, by the statements' names."""
    names = _namespace()
    timers = {name: timeit.Timer(text, SETUP, globals=names) for name, text in statements.items()}
    samples: dict[str, list[float]] = {name: [] for name in timers}
    for name, timer in itertools.chain.from_iterable([timers.items()] * repetitions):
        samples[name].append(timer.timeit(number) / number * NANOSECONDS)
    return dict(samples)


def _batches() -> tuple[MessageBatch, MessageBatch, MessageBatch, MessageBatch]:
    """Return a message of now, one of an hour ago, a batch of now and one over a while."""
    now = time.monotonic_ns()
    apart = [now - number * MILLISECOND_NS for number in reversed(range(BATCH))]
    return (
        MessageBatch(1, 200, [now]),
        MessageBatch(1, 200, [now - 3600 * NANOSECONDS]),
        MessageBatch(BATCH, 20_000, [now] * BATCH),
        MessageBatch(BATCH, 20_000, apart),
    )


def _namespace() -> dict[str, object]:
    """Return all that the statements name, the bound methods looked up already."""
    metrics = StreamingMetrics()
    lifecycle = StreamLifecycleManager(metrics)
    lifecycle.connection_established("connection", StreamProtocol.SSE)
    lifecycle.stream_started("connection", "stream", None)
    meter = MeterProvider([InMemoryMetricReader()]).get_meter("benchmark")
    registry = CollectorRegistry()
    bounds = catalog.DELIVERY_LATENCY.bounds
    counter = Counter("sent", "Sent.", ["protocol"], registry=registry)
    histogram = Histogram("latency", "Latency.", ["protocol"], buckets=bounds, registry=registry)
    return {
        **{name: getattr(metrics, name) for name in dir(metrics) if name.startswith("record_")},
        "sse_record_item_sent": metrics.sse.record_item_sent,
        "items_sent": lifecycle.items_sent,
        "items_fanned_out": lifecycle.items_fanned_out,
        "consumers": range(FAN_OUT),
        "written": [],
        "clock": time.monotonic_ns,
        "batches": _batches,
        "untimed": MessageBatch(1, 200),
        "state": metrics.sse,
        "protocol": StreamProtocol.SSE,
        "source": Source.LIVE,
        "drop_reason": DropReason.SLOW_CONSUMER,
        "error_type": ErrorType.INTERNAL,
        "reconnection": ReconnectionOutcome.RESUMED,
        "close_reason": CloseReason.CLIENT_CLOSED,
        "attributes": {"protocol": "sse"},
        "add": meter.create_counter("sent").add,
        "record": meter.create_histogram(
            "latency", explicit_bucket_boundaries_advisory=bounds
        ).record,
        "inc": counter.labels("sse").inc,
        "observe": histogram.labels("sse").observe,
    }
