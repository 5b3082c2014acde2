"""How full the service is, and when it reaches its limits by the present trend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from operations import thresholds
from operations.dashboards.board import board
from operations.dashboards.panels import THIRD, Limits, Query, graph, stat
from operations.dashboards.queries import INSTANCE, maximum, rate, select, total, whole
from riptide_telemetry import catalog

if TYPE_CHECKING:
    from operations.dashboards.board import Panel

TREND: Final = "1h"
"""How far the trends look back: longer than a deployment takes, shorter than a daily cycle."""
AHEAD_S: Final = 4 * 3600
HORIZON_S: Final = 30 * 24 * 3600
"""The longest time shown: a trend of one hour says nothing about what lies further ahead."""
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
        "How much of each limit is used, and when each is reached by the trend of the last hour.",
        {
            "Time to exhaustion": _exhaustion(),
            "Saturation": _saturation(),
            "Trend": _trends(),
            "Log": _log(),
        },
        refresh="1m",
        since="now-24h",
    )


def _exhaustion() -> list[Panel]:
    return [
        stat(
            "Connection Limit Reached In",
            "Time until the first instance reaches the limit, by the trend of the last hour; 30 "
            "days stand for 30 days or longer.",
            "s",
            _time_left(CONNECTION_LIMIT, CONNECTIONS, _slope(catalog.ACTIVE_CONNECTIONS)),
            limits=SOON,
            span=THIRD,
        ),
        stat(
            "Critical Memory Reached In",
            "Time until the first instance reaches the limit, by the trend of the last hour; 30 "
            "days stand for 30 days or longer.",
            "s",
            _time_left(str(thresholds.MEMORY_USAGE_CRITICAL), MEMORY, _slope(catalog.MEMORY_USAGE)),
            limits=SOON,
            span=THIRD,
        ),
        stat(
            "File Descriptors Exhausted In",
            "Time until the first instance reaches the limit, by the trend of the last hour; 30 "
            "days stand for 30 days or longer.",
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
            "Share of the allowed connections (RIPTIDE_MAX_CONNECTIONS) that are open.",
            "percentunit",
            Query(f"{CONNECTIONS} / {CONNECTION_LIMIT}", "{{instance}}"),
            limits=NEAR_LIMIT,
            span=THIRD,
            maximum=1,
        ),
        graph(
            "Event Loop Lag",
            "Largest delay of a timer on the event loop: every consumer waits that much longer.",
            "s",
            Query(whole(catalog.EVENT_LOOP_LAG), "{{instance}}"),
            limits=Limits(warning=thresholds.EVENT_LOOP_LAG),
            span=THIRD,
        ),
        graph(
            "Processor",
            "Share of one core that is used. The event loop is one thread: 100 % is its limit, "
            "however many cores the machine has.",
            "percentunit",
            Query(rate("process_cpu_seconds_total", by=INSTANCE), "{{instance}}"),
            limits=Limits(warning=thresholds.CONNECTIONS_NEAR_LIMIT),
            span=THIRD,
        ),
        graph(
            "Streaming Memory",
            "Memory of the rings of messages, the write buffers and the sessions.",
            "bytes",
            Query(MEMORY, "{{instance}}"),
            limits=Limits(
                warning=thresholds.MEMORY_USAGE_WARNING, critical=thresholds.MEMORY_USAGE_CRITICAL
            ),
            span=THIRD,
        ),
        graph(
            "Memory of the Process",
            "Resident memory of the process, with the interpreter, as the system counts it.",
            "bytes",
            Query(total(select("process_resident_memory_bytes"), INSTANCE), "{{instance}}"),
            span=THIRD,
        ),
        graph(
            "File Descriptors",
            "Share of the allowed file descriptors that are open: one for each connection, and a "
            "few others.",
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
            "Connections now, and in 4 hours by the trend of the last hour, beside the limit.",
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
            "Streaming memory now, and in 4 hours by the trend of the last hour.",
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
            "Size of the log now, and in 4 hours by the trend of the last hour. Retention bounds "
            "it: RIPTIDE_RETENTION_SECONDS, RIPTIDE_RETENTION_MESSAGES. Instances that share a log "
            "report the same.",
            "bytes",
            Query(maximum(size, INSTANCE), "{{instance}} now"),
            Query(
                maximum(f"predict_linear({size}[{TREND}], {AHEAD_S})", INSTANCE),
                "{{instance}} in 4 h",
            ),
            span=THIRD,
        ),
        graph(
            "Messages per Second",
            "Messages sent by each instance, which take most of its processor time.",
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
            "Topics with consumers; each of them has a ring of messages in memory.",
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


def _log() -> list[Panel]:
    return [
        graph(
            "Write-Ahead Log",
            "What is committed and not in the database yet, or has been moved there and waits to "
            "be written over. More than 64 MB: the disk fails, or another program reads the log.",
            "bytes",
            Query(whole(catalog.LOG_WAL_SIZE), "{{instance}}"),
            span=THIRD,
        ),
        graph(
            "Last Checkpoint",
            "Time since everything was last moved from the write-ahead log to the database; 0 if "
            "nothing was committed since.",
            "s",
            Query(whole(catalog.CHECKPOINT_AGE), "{{instance}}"),
            limits=Limits(warning=thresholds.CHECKPOINT_AGE),
            span=THIRD,
        ),
        graph(
            "Workers and Their Log",
            "1 while every worker reaches the process of the log, and how often one has reached "
            "another, and found topics that went on meanwhile. A service of one process keeps its "
            "log itself; instances that share one in NATS have a board of their own (cluster).",
            "short",
            Query(whole(catalog.LOG_CONNECTED), "{{instance}} connected"),
            Query(whole(catalog.LOG_RECONNECTS), "{{instance}} reconnects"),
            Query(total(whole(catalog.LOG_GAPS), INSTANCE), "{{instance}} topics that went on"),
            span=THIRD,
        ),
        graph(
            "Topics Followed in the Log",
            "Topics whose new messages the log gives to processes, each worker's counted.",
            "short",
            Query(whole(catalog.LOG_FOLLOWED_TOPICS), "{{instance}}"),
            span=THIRD,
        ),
        graph(
            "Free Room in the Log",
            "What deletions have left free in the database; new messages take it first, and most "
            "of it is given back to the disk.",
            "bytes",
            Query(whole(catalog.LOG_FREE_SIZE), "{{instance}}"),
            span=THIRD,
        ),
    ]


def _slope(metric: catalog.MetricDefinition) -> str:
    return total(f"deriv({whole(metric)}[{TREND}])", INSTANCE)


def _time_left(limit: str, used: str, slope: str) -> str:
    """Return the seconds until the first instance reaches its limit."""
    # A slope of zero, or away from the limit, gives a time beyond the horizon.
    left = f"({limit} - {used}) / clamp_min({slope}, 1e-9)"
    return f"clamp_max(clamp_min(min({left}), 0), {HORIZON_S})"
