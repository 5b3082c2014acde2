"""The board to look at first: nine panels, from connections to a summary of all instances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from operations import thresholds
from operations.dashboards.board import board, protocol
from operations.dashboards.panels import Column, Limits, Query, graph, table
from operations.dashboards.queries import (
    FAILED_PUBLISHES,
    INSTANCE,
    RANGE,
    errors_per_connection,
    increase,
    publish_failures,
    quantile,
    rate,
    select,
    success,
    total,
    whole,
)
from riptide_telemetry import catalog

if TYPE_CHECKING:
    from operations.dashboards.board import Panel

# The window that a panel's description names, and of the service's own error rate, which is shown
# beside the errors. $__rate_interval would not do, because it depends on the zoom.
FIVE_MINUTES: Final = "5m"
SUCCESS_LIMITS: Final = Limits(low=thresholds.DELIVERY_SUCCESS_RATE)
ERROR_LIMITS: Final = Limits(
    warning=thresholds.ERROR_RATE_WARNING, critical=thresholds.ERROR_RATE_CRITICAL
)
MEMORY_LIMITS: Final = Limits(
    warning=thresholds.MEMORY_USAGE_WARNING / thresholds.MEGABYTE,
    critical=thresholds.MEMORY_USAGE_CRITICAL / thresholds.MEGABYTE,
)
MEMORY_MEGABYTES: Final = f"{whole(catalog.MEMORY_USAGE)} / (1024 * 1024)"


def generate() -> dict[str, str]:
    """Return the dashboard."""
    return board(
        "streaming",
        "Riptide Streaming",
        "Is streaming well? Connections, messages, errors and memory of the selected instances.",
        {"": [*_graphs(), _overview()]},
        variables=[protocol()],
        refresh="10s",
    )


def _graphs() -> list[Panel]:
    active = select(catalog.ACTIVE_CONNECTIONS)
    return [
        graph(
            "Active Streaming Connections",
            "Connections that are open now.",
            "short",
            Query(total(active), "all"),
            Query(total(active, "protocol"), "{{protocol}}"),
            limits=Limits(warning=thresholds.ACTIVE_CONNECTIONS),
        ),
        graph(
            "Connection Growth Rate",
            "Connections opened and closed per second, over the last 5 minutes. Many of both "
            "without growth mean that clients reconnect.",
            "cps",
            Query(rate(catalog.CONNECTIONS_OPENED, window=FIVE_MINUTES), "opened"),
            Query(rate(catalog.CONNECTIONS_CLOSED, window=FIVE_MINUTES), "closed"),
        ),
        graph(
            "Message Throughput",
            "Messages handed to the transports of consumers per second (left), and messages that "
            "consumers were owed and will not get (right).",
            "mps",
            Query(rate(catalog.MESSAGES_SENT), "sent"),
            Query(rate(catalog.MESSAGES_DROPPED), "dropped", right_axis_unit="mps"),
        ),
        graph(
            "Delivery Success Rate",
            "Share of the messages that were sent and not dropped; 100 % where there were none.",
            "percentunit",
            Query(success(), "delivered"),
            limits=SUCCESS_LIMITS,
            maximum=1,
        ),
        graph(
            "Connection Duration Percentiles",
            "How long the connections that closed at that time had been open. Streams are meant to "
            "last, so only a sudden change is a sign of trouble.",
            "s",
            *(
                Query(quantile(share, catalog.CONNECTION_DURATION), f"P{100 * share:g}")
                for share in (0.5, 0.95, 0.99)
            ),
            limits=Limits(warning=thresholds.CONNECTION_DURATION_P99),
        ),
        graph(
            "Streaming Error Rate",
            "Share of the connections of the last 5 minutes that met an error: of all instances, "
            "from their counters, and of each instance, from its own gauge for all protocols. "
            "Share of the published messages that the service failed to keep.",
            "percentunit",
            Query(errors_per_connection(FIVE_MINUTES), "all"),
            Query(whole(catalog.ERROR_RATE), "{{instance}}"),
            Query(publish_failures(FIVE_MINUTES), "failed publishes"),
            limits=ERROR_LIMITS,
        ),
        graph(
            "Memory Usage in MB",
            "Memory of the rings of messages, the write buffers and the sessions of each instance, "
            "for all protocols.",
            "mbytes",
            Query(MEMORY_MEGABYTES, "{{instance}}"),
            limits=MEMORY_LIMITS,
        ),
        graph(
            "Backpressure Events",
            "Messages dropped per minute, because consumers were too slow or messages had expired.",
            "short",
            Query(f"60 * {rate(catalog.MESSAGES_DROPPED)}", "drops per minute"),
            limits=Limits(warning=thresholds.BACKPRESSURE_DROPS_PER_MINUTE_PANEL),
        ),
    ]


def _overview() -> Panel:
    return table(
        "Stream Health Overview",
        "State of each instance now, and its totals within the selected range.",
        INSTANCE,
        [
            Column("Connections", total(select(catalog.ACTIVE_CONNECTIONS), INSTANCE), "short"),
            Column("Sent", increase(catalog.MESSAGES_SENT, by=INSTANCE), "short"),
            Column("Dropped", increase(catalog.MESSAGES_DROPPED, by=INSTANCE), "short"),
            Column("Delivered", success(INSTANCE, RANGE), "percentunit", SUCCESS_LIMITS),
            Column(
                "Errors now",
                total(whole(catalog.ERROR_RATE), INSTANCE),
                "percentunit",
                ERROR_LIMITS,
            ),
            Column(
                "Latency P99",
                quantile(
                    0.99, catalog.DELIVERY_LATENCY, 'source="live"', by=INSTANCE, window=RANGE
                ),
                "s",
                Limits(warning=thresholds.DELIVERY_LATENCY_TARGET),
            ),
            Column("Largest lag", total(whole(catalog.CONSUMER_LAG), INSTANCE), "short"),
            Column("Memory", total(MEMORY_MEGABYTES, INSTANCE), "mbytes", MEMORY_LIMITS),
            Column(
                "Publishes failed",
                increase(catalog.MESSAGES_PUBLISHED, FAILED_PUBLISHES, by=INSTANCE),
                "short",
                Limits(critical=1),
            ),
        ],
    )
