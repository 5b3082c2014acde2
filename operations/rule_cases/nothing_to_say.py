"""Services that are well: no alert fires but the watchdog.

They have every series of the catalog, as a real service has from its first scrape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from operations.rule_cases.case import Series, named, series
from riptide_telemetry import catalog
from riptide_telemetry.catalog import CATALOG, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from riptide_telemetry.catalog import MetricDefinition

_CONSUMERS: Final = 100
_LATENCY_S: Final = 0.1
_NOT_ZERO: Final[Mapping[MetricDefinition, str]] = {
    catalog.CONNECTION_LIMIT: "10000",
    catalog.DELIVERY_RATIO: "1",
    catalog.HEALTH_RATIO: "1",
    catalog.LOG_CONNECTED: "1",
}


class Scenario(NamedTuple):
    """A sentence about a service, its series, and when the alerts are checked."""

    sentence: str
    series: Series
    at: tuple[str, ...]


def every_series(values: str) -> dict[str, str]:
    """Return all series; ``{0}`` in the values stands for the value of a series at rest."""
    found: dict[str, str] = {}
    for metric in CATALOG:
        if metric is catalog.BUILD_INFO:
            found |= series(metric, values.format("1"), version="0.1.0")
            continue
        text = values.format(_NOT_ZERO.get(metric, "0"))
        for labels in metric.label_sets():
            if metric.kind is Kind.HISTOGRAM:
                for bound in (*map(str, metric.bounds), "+Inf"):
                    found |= series(metric, text, "_bucket", **labels, le=bound)
                found |= series(metric, text, "_count", **labels)
                found |= series(metric, text, "_sum", **labels)
            else:
                found |= series(metric, text, **labels)
    return found


def _restarted() -> Series:
    """Return a busy service of a hundred consumers that is restarted at the tenth minute."""
    before, pause, after = "{0}x9", " _ _ ", "{0}x30"
    found = every_series(before + pause + after)
    sse = {"protocol": "sse"}
    busy = "0+60000x9 _ _ 0+60000x30"
    found |= named("up", "1x9 0 0 1x30")
    found |= named("process_start_time_seconds", "0x9 _ _ 660x30")
    found |= series(catalog.ACTIVE_CONNECTIONS, f"{_CONSUMERS}x9 _ _ {_CONSUMERS}x30", **sse)
    found |= series(catalog.MESSAGES_SENT, busy, **sse)
    found |= series(catalog.MESSAGES_PUBLISHED, "0+60x9 _ _ 0+60x30", outcome="accepted")
    found |= series(catalog.CONNECTIONS_OPENED, f"{_CONSUMERS}x9 _ _ 0 {_CONSUMERS}x30", **sse)
    found |= series(catalog.RECONNECTIONS, f"0x9 _ _ 0 {_CONSUMERS}x30", outcome="resumed", **sse)
    for bound in catalog.DELIVERY_LATENCY.bounds:
        if bound >= _LATENCY_S:
            found |= series(
                catalog.DELIVERY_LATENCY,
                busy,
                "_bucket",
                source="live",
                le=str(bound),
                **sse,
            )
    found |= series(catalog.DELIVERY_LATENCY, busy, "_count", source="live", **sse)
    return found


SCENARIOS: Final = (
    Scenario(
        "an idle service",
        {
            **every_series("{0}x60"),
            **named("up", "1x60"),
            **named("process_start_time_seconds", "0x60"),
        },
        ("1m", "10m", "30m", "60m"),
    ),
    Scenario(
        "a freshly started service that Prometheus has just begun to scrape",
        {
            **every_series("_ _ {0}x60"),
            **series(catalog.EXPORT_ENABLED, "_ _ 1x60", signal="metrics"),
            **named("up", "0 0 1x60"),
            **named("process_start_time_seconds", "_ _ 60x60"),
            **series(catalog.EXPORT_LAST_SUCCESS, "_ _ 0 180+60x60", signal="metrics"),
        },
        ("0m", "1m", "2m", "3m", "10m", "30m"),
    ),
    Scenario(
        "a restarted service to which a hundred consumers come back",
        _restarted(),
        ("9m", "11m", "12m", "15m", "20m", "30m"),
    ),
    Scenario("a Prometheus that has started before the service", {}, ("0m", "4m")),
)
