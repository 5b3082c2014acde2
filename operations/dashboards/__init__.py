"""The Grafana dashboards, one module each."""

from __future__ import annotations

from operations.dashboards import (
    access,
    capacity,
    cluster,
    cost,
    delivery_latency,
    protocols,
    slow_consumers,
    streaming,
    telemetry_health,
)

BOARDS = (
    streaming,
    delivery_latency,
    slow_consumers,
    protocols,
    cluster,
    access,
    capacity,
    cost,
    telemetry_health,
)


def generate() -> dict[str, str]:
    """Return the files of all dashboards."""
    return {name: text for module in BOARDS for name, text in module.generate().items()}
