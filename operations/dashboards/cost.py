"""What sending costs, by the price of a gigabyte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from operations.dashboards.board import board, price, protocol
from operations.dashboards.panels import THIRD, Column, Query, graph, stat, table
from operations.dashboards.queries import RANGE, increase, rate
from riptide_telemetry import catalog

if TYPE_CHECKING:
    from operations.dashboards.board import Panel

GIGABYTE: Final = "1e9"
"""The bytes of a gigabyte, as network providers count them."""
MONTH_S: Final = 30 * 24 * 3600
DOLLARS: Final = "currencyUSD"
CALCULATION: Final = (
    "Bytes of messages, without the framing of HTTP, WebSocket and TLS, times the price above."
)
BY: Final = "protocol"


def generate() -> dict[str, str]:
    """Return the dashboard."""
    return board(
        "cost",
        "Riptide Cost",
        "Cost of the bytes that are sent to consumers, by protocol and by message. The price of a "
        "gigabyte is a variable above.",
        {"": [*_numbers(), *_graphs(), _overview()]},
        variables=[protocol(), price()],
        refresh="1m",
        since="now-24h",
    )


def _cost(bytes_sent: str) -> str:
    return f"{bytes_sent} / {GIGABYTE} * $price"


def _numbers() -> list[Panel]:
    return [
        stat(
            "Cost Within the Range",
            CALCULATION,
            DOLLARS,
            _cost(increase(catalog.SENT_BYTES)),
            span=THIRD,
        ),
        stat(
            "Cost of 30 Days",
            f"Cost of 30 days that are like the selected range. {CALCULATION}",
            DOLLARS,
            _cost(f"{MONTH_S} * {rate(catalog.SENT_BYTES, window=RANGE)}"),
            span=THIRD,
        ),
        stat(
            "Cost of a Million Messages",
            CALCULATION,
            DOLLARS,
            _cost(
                f"1e6 * {increase(catalog.SENT_BYTES)} / ({increase(catalog.MESSAGES_SENT)} > 0)"
            ),
            span=THIRD,
        ),
    ]


def _graphs() -> list[Panel]:
    return [
        graph(
            "Cost per Hour",
            CALCULATION,
            DOLLARS,
            Query(_cost(f"3600 * {rate(catalog.SENT_BYTES, by=BY)}"), "{{protocol}}"),
            stacked=True,
        ),
        graph(
            "Bandwidth",
            "Bytes of messages per second.",
            "Bps",
            Query(rate(catalog.SENT_BYTES, by=BY), "{{protocol}}"),
            stacked=True,
        ),
    ]


def _overview() -> Panel:
    sent_bytes = increase(catalog.SENT_BYTES, by=BY)
    messages = increase(catalog.MESSAGES_SENT, by=BY)
    return table(
        "Cost by Protocol",
        f"Cost within the selected range. {CALCULATION}",
        BY,
        [
            Column("Messages", messages, "short"),
            Column("Bytes", sent_bytes, "decbytes"),
            Column("Bytes per message", f"{sent_bytes} / ({messages} > 0)", "decbytes"),
            Column("Cost", _cost(sent_bytes), DOLLARS),
            Column(
                "Cost of a million messages",
                _cost(f"1e6 * {sent_bytes} / ({messages} > 0)"),
                DOLLARS,
            ),
        ],
    )
