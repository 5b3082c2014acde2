"""How late messages are: percentiles, the whole distribution, and the objective."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from operations import thresholds
from operations.dashboards.board import board, protocol
from operations.dashboards.panels import Limits, Query, graph, heatmap, stat
from operations.dashboards.queries import RANGE, WINDOW, quantile, rate, whole
from riptide_telemetry import catalog

if TYPE_CHECKING:
    from operations.dashboards.board import Panel

LIVE: Final = 'source="live"'
SHARES: Final = (0.5, 0.95, 0.99)
OBJECTIVE: Final = Limits(low=thresholds.DELIVERY_LATENCY_OBJECTIVE)
TARGET: Final = Limits(warning=thresholds.DELIVERY_LATENCY_TARGET)
TARGET_TEXT: Final = f"{1000 * thresholds.DELIVERY_LATENCY_TARGET:g} ms"


def generate() -> dict[str, str]:
    """Return the dashboard."""
    return board(
        "delivery-latency",
        "Riptide Delivery Latency",
        "Time from the acceptance of a message until it is handed to the transport of each "
        "consumer, and what adds to this time.",
        {"Delivery": _delivery(), "What adds to it": _causes()},
        variables=[protocol()],
    )


def _delivery() -> list[Panel]:
    return [
        stat(
            f"Within {TARGET_TEXT}",
            f"Share of the live messages of the selected range that left within {TARGET_TEXT}. "
            f"The objective is {100 * thresholds.DELIVERY_LATENCY_OBJECTIVE:g} %.",
            "percentunit",
            _within_target(RANGE),
            limits=OBJECTIVE,
            decimals=3,
        ),
        *(
            stat(
                f"P{100 * share:g}",
                "Latency of live messages within the selected range.",
                "s",
                quantile(share, catalog.DELIVERY_LATENCY, LIVE, window=RANGE),
                limits=TARGET,
            )
            for share in SHARES
        ),
        graph(
            "Delivery Latency Percentiles",
            "Latency of live messages. A dot is one message; if the message was traced, a click "
            "on the dot opens its trace.",
            "s",
            *(
                Query(
                    quantile(share, catalog.DELIVERY_LATENCY, LIVE),
                    f"P{100 * share:g}",
                    exemplars=True,
                )
                for share in SHARES
            ),
            limits=TARGET,
        ),
        graph(
            "Delivery Latency P99 by Protocol",
            "Latency of live messages.",
            "s",
            Query(
                quantile(0.99, catalog.DELIVERY_LATENCY, LIVE, by="protocol"),
                "{{protocol}}",
                exemplars=True,
            ),
            limits=TARGET,
        ),
        heatmap(
            "Delivery Latency Distribution",
            "How many live messages had which latency. A dot is one message; if the message was "
            "traced, a click on the dot opens its trace.",
            "s",
            rate(catalog.DELIVERY_LATENCY, LIVE, by="le", suffix="_bucket"),
        ),
        graph(
            f"Share Within {TARGET_TEXT}",
            f"Share of live messages that left within {TARGET_TEXT}; there is no line where there "
            "were no messages. The error budget burns below the dashed line.",
            "percentunit",
            Query(_within_target(WINDOW), "within the target"),
            limits=OBJECTIVE,
            maximum=1,
        ),
        graph(
            "Age of Replayed Messages P95",
            "Age of messages when they were sent to consumers that resumed or asked for the past.",
            "s",
            Query(
                quantile(0.95, catalog.DELIVERY_LATENCY, 'source="replay"', by="protocol"),
                "{{protocol}}",
            ),
        ),
    ]


def _within_target(window: str) -> str:
    target = f'le="{thresholds.DELIVERY_LATENCY_TARGET}"'
    good = rate(catalog.DELIVERY_LATENCY, LIVE, target, suffix="_bucket", window=window)
    every = rate(catalog.DELIVERY_LATENCY, LIVE, suffix="_count", window=window)
    return f"{good} / ({every} > 0)"


def _causes() -> list[Panel]:
    return [
        graph(
            "Log Append Duration",
            "Time from the acceptance of a publisher's messages to their commit, which is a part "
            "of every latency.",
            "s",
            *(
                Query(quantile(share, catalog.LOG_APPEND_DURATION), f"P{100 * share:g}")
                for share in SHARES
            ),
        ),
        graph(
            "Log Stalls",
            "How long the oldest append or other write to the log has taken that is under way, and "
            "the longest time of the last minute in which appends waited and none was answered.",
            "s",
            Query(whole(catalog.OLDEST_APPEND_AGE), "{{instance}} under way"),
            Query(whole(catalog.APPEND_STALL), "{{instance}} longest"),
            limits=Limits(warning=thresholds.APPEND_AGE),
        ),
        graph(
            "Event Loop Lag",
            "Largest delay of a timer on the event loop: every consumer waits that much longer.",
            "s",
            Query(whole(catalog.EVENT_LOOP_LAG), "{{instance}}"),
            limits=Limits(warning=thresholds.EVENT_LOOP_LAG),
        ),
        graph(
            "Write Wait P99",
            "How long writes waited for slow readers.",
            "s",
            Query(quantile(0.99, catalog.WRITE_WAIT, by="protocol"), "{{protocol}}"),
        ),
        graph(
            "Time to First Message P95",
            "Time from the opening of a connection to the first message on it; long if its topic "
            "is quiet.",
            "s",
            Query(quantile(0.95, catalog.TIME_TO_FIRST_MESSAGE, by="protocol"), "{{protocol}}"),
        ),
    ]
