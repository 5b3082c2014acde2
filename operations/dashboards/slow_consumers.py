"""Consumers that do not keep up, and what they lose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from operations import thresholds
from operations.dashboards.board import board, protocol
from operations.dashboards.panels import Limits, Query, graph
from operations.dashboards.queries import quantile, rate, select, total, whole
from riptide_telemetry import LagBound, catalog

if TYPE_CHECKING:
    from operations.dashboards.board import Panel


def generate() -> dict[str, str]:
    """Return the dashboard."""
    return board(
        "slow-consumers",
        "Riptide Slow Consumers",
        "Consumers that do not keep up: the messages queued for them, the writes that wait for "
        "them, and what they lose.",
        {"Before they lose anything": _falling_behind(), "What they lose": _losing()},
        variables=[protocol()],
    )


def _falling_behind() -> list[Panel]:
    return [
        graph(
            "Largest Consumer Lag",
            "Messages that the consumer furthest behind has not been sent yet. At the size of the "
            "ring (RIPTIDE_RING_MESSAGES) that consumer falls off the ring.",
            "short",
            Query(whole(catalog.CONSUMER_LAG), "{{instance}}"),
        ),
        graph(
            "Consumers Behind",
            "Consumers whose next message has waited for at least so long. Finite replays are left "
            "out, and consumers that read a topic for the first time and gain ground.",
            "short",
            *(
                Query(
                    total(select(catalog.CONSUMERS_BEHIND, f'at_least="{bound}"')),
                    bound.replace("_", " "),
                )
                for bound in LagBound
            ),
        ),
        graph(
            "Oldest Undelivered Message",
            "How long the oldest message has waited that one of these consumers has not been given "
            "yet. The policy for slow consumers applies after RIPTIDE_MAX_LAG_SECONDS.",
            "s",
            Query(whole(catalog.OLDEST_UNDELIVERED_AGE), "{{instance}}"),
            limits=Limits(warning=thresholds.OLDEST_UNDELIVERED),
        ),
        graph(
            "Queued Messages",
            "Messages that consumers have not been sent yet, summed over all consumers. A large "
            "lag with a short queue is one consumer's fault; with a long queue, the service's.",
            "short",
            Query(whole(catalog.QUEUED_MESSAGES), "{{instance}}"),
        ),
        graph(
            "Writes That Waited",
            "Writes per second that found the buffer of their consumer full.",
            "wps",
            Query(rate(catalog.BACKPRESSURE_EVENTS, by="protocol"), "{{protocol}}"),
        ),
        graph(
            "Write Wait",
            "How long these writes waited.",
            "s",
            *(
                Query(quantile(share, catalog.WRITE_WAIT), f"P{100 * share:g}")
                for share in (0.5, 0.95, 0.99)
            ),
        ),
        graph(
            "Waiting at the Same Time",
            "How many consumers writes waited for at the same time, on average.",
            "short",
            Query(rate(catalog.WRITE_WAIT, by="protocol", suffix="_sum"), "{{protocol}}"),
        ),
        graph(
            "Memory",
            "Bytes that streaming holds; write buffers are one part of them.",
            "bytes",
            Query(whole(catalog.MEMORY_USAGE), "{{instance}}"),
            limits=Limits(
                warning=thresholds.MEMORY_USAGE_WARNING, critical=thresholds.MEMORY_USAGE_CRITICAL
            ),
        ),
    ]


def _losing() -> list[Panel]:
    slow = 'reason=~"slow_consumer|client_stalled"'
    return [
        graph(
            "Drops by Reason",
            "Messages per minute that consumers were owed and will not get.",
            "short",
            Query(f"60 * {rate(catalog.MESSAGES_DROPPED, by='reason')}", "{{reason}}"),
            limits=Limits(warning=thresholds.BACKPRESSURE_DROPS_PER_MINUTE_PANEL),
            stacked=True,
        ),
        graph(
            "Drops by Protocol",
            "The same messages, by the protocol of the consumers.",
            "short",
            Query(f"60 * {rate(catalog.MESSAGES_DROPPED, by='protocol')}", "{{protocol}}"),
            stacked=True,
        ),
        graph(
            "Disconnects of Slow Consumers",
            "Consumers per minute that fell off the ring (slow_consumer) or took nothing for the "
            "length of the write timeout (client_stalled). They can resume.",
            "short",
            Query(f"60 * {rate(catalog.CONNECTIONS_CLOSED, slow, by='reason')}", "{{reason}}"),
            limits=Limits(warning=thresholds.SLOW_CONSUMER_DISCONNECTS_PER_MINUTE),
        ),
        graph(
            "Reconnections by Outcome",
            "Consumers per minute that came back with a position. Those that resumed lost nothing; "
            "for the others, messages had expired (gap) or the log is a new one (reset).",
            "short",
            Query(f"60 * {rate(catalog.RECONNECTIONS, by='outcome')}", "{{outcome}}"),
            stacked=True,
        ),
        graph(
            "Open Connections",
            "Connections that are open now, for comparison.",
            "short",
            Query(total(select(catalog.ACTIVE_CONNECTIONS), "protocol"), "{{protocol}}"),
            stacked=True,
        ),
        graph(
            "Messages per Connection",
            "Messages sent per second to each open connection, on average.",
            "mps",
            Query(
                f"{rate(catalog.MESSAGES_SENT, by='protocol')} / "
                f"({total(select(catalog.ACTIVE_CONNECTIONS), 'protocol')} > 0)",
                "{{protocol}}",
            ),
        ),
    ]
