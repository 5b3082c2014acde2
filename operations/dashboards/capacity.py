"""How full the service is, and when it will be at its limits if things go on as they do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from operations import thresholds
from operations.dashboards.board import board
from operations.dashboards.panels import THIRD, Limits, Query, graph, stat
from operations.dashboards.queries import INSTANCE, rate, select, total, whole
from riptide_telemetry import catalog

if TYPE_CHECKING:
    from operations.dashboards.board import Panel

TREND: Final = "1h"
"""How far the trends look back: longer than a deployment, shorter than a day's tide."""
AHEAD_S: Final = 4 * 3600
HORIZON_S: Final = 30 * 24 * 3600
"""As far as a trend is worth anything; what lies beyond is shown as this."""
NEAR_LIMIT: Final = Limits(warning=thresholds.CONNECTIONS_NEAR_LIMIT, critical=1)
SOON: Final = Limits(low=AHEAD_S)

CONNECTIONS: Final = total(whole(catalog.ACTIVE_CONNECTIONS), INSTANCE)
CONNECTION_LIMIT: Final = total(whole(catalog.CONNECTION_LIMIT), INSTANCE)
MEMORY: Final = total(whole(catalog.MEMORY_USAGE), INSTANCE)


def generate() -> dict[str, str]:
    """Return the dashboard."""
    return board(
        "capacity",
        "Riptide Capacity",
        "How much of each limit is used, and when it will be reached by the trend of the last "
        "hour.",
        {
            "Time to exhaustion": _exhaustion(),
            "Saturation": _saturation(),
            "Trend": _trends(),
        },
        refresh="1m",
        since="now-24h",
    )


def _exhaustion() -> list[Panel]:
    return [
        stat(
            "Connection Limit Reached In",
            "By the trend of the last hour, for the instance that is there first; 30 days stand "
            "for never.",
            "s",
            _time_left(CONNECTION_LIMIT, CONNECTIONS, _slope(catalog.ACTIVE_CONNECTIONS)),
            limits=SOON,
            span=THIRD,
        ),
        stat(
            "Critical Memory Reached In",
            "By the trend of the last hour, for the instance that is there first; 30 days stand "
            "for never.",
            "s",
            _time_left(str(thresholds.MEMORY_USAGE_CRITICAL), MEMORY, _slope(catalog.MEMORY_USAGE)),
            limits=SOON,
            span=THIRD,
        ),
        stat(
            "File Descriptors Exhausted In",
            "By the trend of the last hour, for the instance that is there first; 30 days stand "
            "for never.",
            "s",
            _time_left(
                total(select("process_max_fds"), INSTANCE),
                total(select("process_open_fds"), INSTANCE),
                total(f"deriv({select('process_open_fds')}[{TREND}])", INSTANCE),
            ),
            limits=SOON,
            span=THIRD,
        ),
    ]


def _saturation() -> list[Panel]:
    return [
        graph(
            "Connection Limit",
            "Open connections of those allowed (RIPTIDE_MAX_CONNECTIONS).",
            "percentunit",
            Query(f"{CONNECTIONS} / {CONNECTION_LIMIT}", "{{instance}}"),
            limits=NEAR_LIMIT,
            span=THIRD,
            maximum=1,
        ),
        graph(
            "Event Loop Lag",
            "Largest delay of a timer on the event loop: what every consumer waits on top.",
            "s",
            Query(whole(catalog.EVENT_LOOP_LAG), "{{instance}}"),
            limits=Limits(warning=thresholds.EVENT_LOOP_LAG),
            span=THIRD,
        ),
        graph(
            "Processor",
            "Of one core. The event loop is one thread: at 100 % it is full, whatever the machine "
            "has besides.",
            "percentunit",
            Query(rate("process_cpu_seconds_total", by=INSTANCE), "{{instance}}"),
            limits=Limits(warning=thresholds.CONNECTIONS_NEAR_LIMIT),
            span=THIRD,
        ),
        graph(
            "Streaming Memory",
            "Rings of messages, write buffers, sessions.",
            "bytes",
            Query(MEMORY, "{{instance}}"),
            limits=Limits(
                warning=thresholds.MEMORY_USAGE_WARNING, critical=thresholds.MEMORY_USAGE_CRITICAL
            ),
            span=THIRD,
        ),
        graph(
            "Memory of the Process",
            "What the system counts, the interpreter included.",
            "bytes",
            Query(total(select("process_resident_memory_bytes"), INSTANCE), "{{instance}}"),
            span=THIRD,
        ),
        graph(
            "File Descriptors",
            "Open ones of those allowed: one a connection, and a few.",
            "percentunit",
            Query(
                f"{total(select('process_open_fds'), INSTANCE)} / "
                f"{total(select('process_max_fds'), INSTANCE)}",
                "{{instance}}",
            ),
            limits=NEAR_LIMIT,
            span=THIRD,
            maximum=1,
        ),
    ]


def _trends() -> list[Panel]:
    connections = whole(catalog.ACTIVE_CONNECTIONS)
    memory = whole(catalog.MEMORY_USAGE)
    size = whole(catalog.LOG_SIZE)
    return [
        graph(
            "Connections in 4 Hours",
            "Where the trend of the last hour leads, beside the present and the limit.",
            "short",
            Query(CONNECTIONS, "{{instance}} now"),
            Query(
                total(f"predict_linear({connections}[{TREND}], {AHEAD_S})", INSTANCE),
                "{{instance}} in 4 h",
            ),
            Query(CONNECTION_LIMIT, "{{instance}} limit"),
            span=THIRD,
        ),
        graph(
            "Memory in 4 Hours",
            "Where the trend of the last hour leads, beside the present.",
            "bytes",
            Query(MEMORY, "{{instance}} now"),
            Query(
                total(f"predict_linear({memory}[{TREND}], {AHEAD_S})", INSTANCE),
                "{{instance}} in 4 h",
            ),
            limits=Limits(
                warning=thresholds.MEMORY_USAGE_WARNING, critical=thresholds.MEMORY_USAGE_CRITICAL
            ),
            span=THIRD,
        ),
        graph(
            "Log Size",
            "Room that the log takes on disk, and in 4 hours by the trend of the last one. "
            "Retention bounds it: RIPTIDE_RETENTION_SECONDS, RIPTIDE_RETENTION_MESSAGES.",
            "bytes",
            Query(total(size, INSTANCE), "{{instance}} now"),
            Query(
                total(f"predict_linear({size}[{TREND}], {AHEAD_S})", INSTANCE),
                "{{instance}} in 4 h",
            ),
            span=THIRD,
        ),
        graph(
            "Messages per Second",
            "Sent by each instance: what the processor is used for.",
            "mps",
            Query(
                total(
                    f"rate({whole(catalog.MESSAGES_SENT)}[$__rate_interval])",
                    INSTANCE,
                ),
                "{{instance}}",
            ),
            span=THIRD,
        ),
        graph(
            "Topics in Memory",
            "Topics with consumers; each has a ring of messages.",
            "short",
            Query(total(whole(catalog.TOPICS), INSTANCE), "{{instance}}"),
            span=THIRD,
        ),
        graph(
            "Messages per Connection",
            "Messages sent per connection that was open in the last 5 minutes.",
            "short",
            Query(whole(catalog.ITEMS_PER_CONNECTION), "{{instance}}"),
            span=THIRD,
        ),
    ]


def _slope(metric: catalog.MetricDefinition) -> str:
    return total(f"deriv({whole(metric)}[{TREND}])", INSTANCE)


def _time_left(limit: str, used: str, slope: str) -> str:
    """Return the seconds until the first instance reaches its limit."""
    # A slope that is none, or leads away from the limit, takes longer than the horizon.
    left = f"({limit} - {used}) / clamp_min({slope}, 1e-9)"
    return f"clamp_max(clamp_min(min({left}), 0), {HORIZON_S})"
