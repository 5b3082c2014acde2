"""Deliveries per second while the Collector that telemetry is sent to is absent, hung or killed.

All signals are exported by OTLP, metrics thirty times as often as by default, and every publish is
traced. Each run has a fresh service. Ratios compare with the run of the same repetition whose
Collector works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import collector
from benchmarks.figures import RATIO, Bar, Figure, Result, ratios
from benchmarks.service import environment_of, running
from benchmarks.throughput import QUICK, RING_BYTES, Load, measure_on

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from benchmarks.collector import Destination

BAR = Bar(0.95, at_least=True)
FULL_LOAD = Load(1_000, 12_000, 20)
INTERVAL_MS = 500

WELL = "well"
CONDITIONS: dict[str, Callable[[], AbstractContextManager[Destination]]] = {
    WELL: collector.well,
    "absent": collector.absent,
    "hung": collector.hung,
    "killed half-way": collector.killed,
}


def run(*, quick: bool) -> Result:
    """Measure each condition; their order rotates with each repetition."""
    load, repetitions = (QUICK["in batches of 100"], 1) if quick else (FULL_LOAD, 5)
    speeds: dict[str, list[float]] = {name: [] for name in CONDITIONS}
    names = list(CONDITIONS)
    for _ in range(repetitions):
        for name in names:
            speeds[name].append(_measure(load, CONDITIONS[name]))
        names = names[1:] + names[:1]
    figures = [
        Figure(f"Collector {name} ÷ well", RATIO, ratios(samples, speeds[WELL]), BAR)
        for name, samples in speeds.items()
        if name != WELL
    ]
    figures += [
        Figure(f"Collector {name}", "deliveries/s", samples) for name, samples in speeds.items()
    ]
    parameters = {"repetitions": repetitions, "interval_ms": INTERVAL_MS, **load._asdict()}
    return Result(figures, parameters)


def _measure(load: Load, condition: Callable[[], AbstractContextManager[Destination]]) -> float:
    with condition() as destination:
        environment = environment_of(
            max_connections=load.consumers, ring_messages=load.messages, ring_bytes=RING_BYTES
        ) | {
            "OTEL_METRICS_EXPORTER": "prometheus,otlp",
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": destination.endpoint,
            "OTEL_METRIC_EXPORT_INTERVAL": str(INTERVAL_MS),
        }
        with running(["-m", "riptide.cli", "serve"], environment) as server:
            return measure_on(server, load, halfway=destination.halfway).deliveries_per_s
