"""NDJSON, SSE and WebSocket side by side, and the topics that have a label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from operations import thresholds
from operations.dashboards.board import board, protocol
from operations.dashboards.panels import THIRD, Column, Limits, Query, graph, table
from operations.dashboards.queries import (
    RANGE,
    increase,
    quantile,
    rate,
    select,
    success,
    total,
)
from riptide_telemetry import catalog

if TYPE_CHECKING:
    from operations.dashboards.board import Panel

BY: Final = "protocol"
SUCCESS: Final = Limits(low=thresholds.DELIVERY_SUCCESS_RATE)


def generate() -> dict[str, str]:
    """Return the dashboard."""
    return board(
        "protocols",
        "Riptide Protocols",
        "Connections, their ends, messages, errors and refusals of each transport.",
        {
            "": [_overview()],
            "Connections": _connections(),
            "Messages": _messages(),
            "Topics (those that RIPTIDE_TOPIC_LABELS names)": _topics(),
        },
        variables=[protocol()],
    )


def _overview() -> Panel:
    return table(
        "Protocols at a Glance",
        "Connections of each transport now, and its totals within the selected range.",
        BY,
        [
            Column("Connections", total(select(catalog.ACTIVE_CONNECTIONS), BY), "short"),
            Column("Opened", increase(catalog.CONNECTIONS_OPENED, by=BY), "short"),
            Column("Rejected", increase(catalog.CONNECTIONS_REJECTED, by=BY), "short"),
            Column("Errors", increase(catalog.ERRORS, by=BY), "short"),
            Column("Messages sent", increase(catalog.MESSAGES_SENT, by=BY), "short"),
            Column("Delivered", success(BY, RANGE), "percentunit", SUCCESS),
            Column("Bytes sent", increase(catalog.SENT_BYTES, by=BY), "decbytes"),
            Column(
                "Latency P99",
                quantile(0.99, catalog.DELIVERY_LATENCY, 'source="live"', by=BY, window=RANGE),
                "s",
                Limits(warning=thresholds.DELIVERY_LATENCY_TARGET),
            ),
        ],
    )


def _connections() -> list[Panel]:
    return [
        graph(
            "Open Connections",
            "Connections that are open now.",
            "short",
            Query(total(select(catalog.ACTIVE_CONNECTIONS), BY), "{{protocol}}"),
            span=THIRD,
            stacked=True,
        ),
        graph(
            "Open Streams",
            "Streams that are open now. A WebSocket connection may carry several.",
            "short",
            Query(total(select(catalog.ACTIVE_STREAMS), BY), "{{protocol}}"),
            span=THIRD,
            stacked=True,
        ),
        graph(
            "Connections Opened",
            "Connections opened per second.",
            "cps",
            Query(rate(catalog.CONNECTIONS_OPENED, by=BY), "{{protocol}}"),
            span=THIRD,
        ),
        graph(
            "Connections Closed by Reason",
            "Connections closed per minute, by who or what ended them.",
            "short",
            Query(f"60 * {rate(catalog.CONNECTIONS_CLOSED, by='reason')}", "{{reason}}"),
            span=THIRD,
            stacked=True,
        ),
        graph(
            "Streams Ended by Outcome",
            "Streams ended per minute.",
            "short",
            Query(
                f"60 * {rate(catalog.STREAMS_ENDED, by='protocol, outcome')}",
                "{{protocol}} {{outcome}}",
            ),
            span=THIRD,
            stacked=True,
        ),
        graph(
            "Errors by Type",
            "Errors per minute.",
            "short",
            Query(
                f"60 * {rate(catalog.ERRORS, by='protocol, error_type')}",
                "{{protocol}} {{error_type}}",
            ),
            span=THIRD,
            stacked=True,
        ),
        graph(
            "Rejected Connections",
            "Streams refused before they began, per minute.",
            "short",
            Query(f"60 * {rate(catalog.CONNECTIONS_REJECTED, by='reason')}", "{{reason}}"),
            span=THIRD,
            stacked=True,
        ),
        graph(
            "Reconnections",
            "Streams per minute that began at a position which their consumer sent.",
            "short",
            Query(
                f"60 * {rate(catalog.RECONNECTIONS, by='protocol, outcome')}",
                "{{protocol}} {{outcome}}",
            ),
            span=THIRD,
            stacked=True,
        ),
        graph(
            "Stream Duration P95",
            "Duration of the streams that ended at that time.",
            "s",
            Query(quantile(0.95, catalog.STREAM_DURATION, by=BY), "{{protocol}}"),
            span=THIRD,
        ),
    ]


def _messages() -> list[Panel]:
    messages = rate(catalog.MESSAGES_SENT, by=BY)
    return [
        graph(
            "Messages Sent",
            "Messages sent per second.",
            "mps",
            Query(messages, "{{protocol}}"),
            span=THIRD,
            stacked=True,
        ),
        graph(
            "Delivery Success",
            "Share of the messages that were sent and not dropped; 100 % where there were none.",
            "percentunit",
            Query(success(BY), "{{protocol}}"),
            limits=SUCCESS,
            span=THIRD,
            maximum=1,
        ),
        graph(
            "Messages Received",
            "Messages per second that clients sent on open streams.",
            "mps",
            Query(rate(catalog.MESSAGES_RECEIVED, by=BY), "{{protocol}}"),
            span=THIRD,
        ),
        graph(
            "Bandwidth",
            "Bytes of messages per second, without the framing of HTTP or WebSocket.",
            "Bps",
            Query(rate(catalog.SENT_BYTES, by=BY), "{{protocol}}"),
            span=THIRD,
            stacked=True,
        ),
        graph(
            "Bytes per Message",
            "Mean size of a message as sent.",
            "bytes",
            Query(f"{rate(catalog.SENT_BYTES, by=BY)} / ({messages} > 0)", "{{protocol}}"),
            span=THIRD,
        ),
        graph(
            "Messages Published",
            "Messages per second that publishers sent, by what became of them.",
            "mps",
            Query(rate(catalog.MESSAGES_PUBLISHED, by="outcome"), "{{outcome}}"),
            span=THIRD,
            stacked=True,
        ),
    ]


def _topics() -> list[Panel]:
    return [
        graph(
            "Connections by Topic",
            "Connections that are open now.",
            "short",
            Query(total(select(catalog.TOPIC_ACTIVE_CONNECTIONS), "topic"), "{{topic}}"),
            stacked=True,
        ),
        graph(
            "Messages Sent by Topic",
            "Messages sent per second.",
            "mps",
            Query(rate(catalog.TOPIC_MESSAGES_SENT, by="topic"), "{{topic}}"),
            stacked=True,
        ),
        graph(
            "Messages Published by Topic",
            "Messages accepted from publishers, per second.",
            "mps",
            Query(rate(catalog.TOPIC_MESSAGES_PUBLISHED, by="topic"), "{{topic}}"),
            stacked=True,
        ),
        graph(
            "Messages Dropped by Topic",
            "Messages dropped per minute.",
            "short",
            Query(f"60 * {rate(catalog.TOPIC_MESSAGES_DROPPED, by='topic')}", "{{topic}}"),
            stacked=True,
        ),
    ]
