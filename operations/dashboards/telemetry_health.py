"""Whether what the other boards show can be believed: scrapes, exports, Collector, accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from operations import thresholds
from operations.dashboards.board import board, collector
from operations.dashboards.panels import THIRD, Limits, Query, graph, stat
from operations.dashboards.queries import INSTANCE, WINDOW, rate, select, total, whole
from riptide_telemetry import catalog

if TYPE_CHECKING:
    from operations.dashboards.board import Panel

START: Final = select("process_start_time_seconds")
SIGNALS: Final = {"metrics": "metric_points", "traces": "spans", "logs": "log_records"}
"""What the Collector calls the items of each signal."""


def generate() -> dict[str, str]:
    """Return the dashboard."""
    return board(
        "telemetry-health",
        "Riptide Telemetry Health",
        "Can the other boards be believed? Scrapes, messages that are not accounted for, exports "
        "by OTLP, and the Collector.",
        {
            "The truth of the numbers": _accounts(),
            "Scrapes": _scrapes(),
            "Exports by OTLP (zero where none are configured)": _exports(),
            "OpenTelemetry Collector (empty where there is none)": _collector(),
        },
        variables=[collector()],
    )


def _accounts() -> list[Panel]:
    return [
        stat(
            "Unaccounted Messages",
            "Messages offered to consumers that were not sent, dropped or queued. Anything but 0 "
            "is a fault of Riptide's.",
            "short",
            total(f"abs({whole(catalog.MESSAGES_UNACCOUNTED)})"),
            limits=Limits(critical=1),
            span=THIRD,
        ),
        stat(
            "Targets Down",
            "Instances that Prometheus cannot scrape.",
            "short",
            f"count({select('up')}) - sum({select('up')})",
            limits=Limits(critical=1),
            span=THIRD,
        ),
        stat(
            "Versions",
            "Instances by the version that they run.",
            "short",
            total(whole(catalog.BUILD_INFO), "version"),
            legend="{{version}}",
            span=THIRD,
        ),
        graph(
            "Unaccounted Messages over Time",
            "By instance; a step is the moment to look at in the log.",
            "short",
            Query(whole(catalog.MESSAGES_UNACCOUNTED), "{{instance}}"),
            span=THIRD,
        ),
        graph(
            "Restarts",
            "Of each instance, in the last 15 minutes. All counters begin at 0 again.",
            "short",
            Query(f"changes({START}[{thresholds.RESTART_WINDOW:.0f}s])", "{{instance}}"),
            limits=Limits(critical=thresholds.RESTARTS),
            span=THIRD,
        ),
        graph(
            "Draining",
            "1 while an instance is shutting down.",
            "short",
            Query(whole(catalog.DRAINING), "{{instance}}"),
            span=THIRD,
            maximum=1,
        ),
    ]


def _scrapes() -> list[Panel]:
    return [
        graph(
            "Targets Up",
            "1 where the last scrape succeeded.",
            "short",
            Query(select("up"), "{{instance}}"),
            span=THIRD,
            maximum=1,
        ),
        graph(
            "Scrape Duration",
            "How long Prometheus waited for an answer.",
            "s",
            Query(select("scrape_duration_seconds"), "{{instance}}"),
            span=THIRD,
        ),
        graph(
            "Series per Scrape",
            "It does not grow with connections: all label values are known beforehand.",
            "short",
            Query(select("scrape_samples_scraped"), "{{instance}}"),
            span=THIRD,
        ),
    ]


def _exports() -> list[Panel]:
    enabled = select(catalog.EXPORT_ENABLED)
    last = select(catalog.EXPORT_LAST_SUCCESS)
    # Where there has been none yet, the time runs from the start of the process.
    since = f"({last} > 0 or {last} + on ({INSTANCE}) group_left {START})"
    return [
        graph(
            "Time Since the Last Export",
            "Of signals that are exported: since the last success, or since the start where there "
            "has been none.",
            "s",
            Query(
                f"{enabled} * on ({INSTANCE}, signal) (time() - {since})", "{{instance}} {{signal}}"
            ),
            limits=Limits(critical=thresholds.EXPORT_SILENCE),
            span=THIRD,
        ),
        graph(
            "Failed Exports",
            "Per minute. Metrics come with the next export, spans and log records are lost.",
            "short",
            Query(
                f"60 * {rate(catalog.EXPORT_FAILURES, by=f'{INSTANCE}, signal')}",
                "{{instance}} {{signal}}",
            ),
            span=THIRD,
        ),
        graph(
            "Export Queue",
            "Spans and log records that wait to be exported.",
            "short",
            Query(select(catalog.EXPORT_QUEUE_SIZE), "{{instance}} {{signal}}"),
            span=THIRD,
        ),
    ]


def _of_collector(name: str) -> str:
    """Select a metric of the Collector's own, which has its suffixes or not as it is set up."""
    return f'{{__name__=~"otelcol_{name}", job=~"$collector"}}'


def _flow(name: str, by: str) -> list[Query]:
    """Return the items per second of each signal."""
    return [
        Query(
            total(f"rate({_of_collector(f'{name}_{items}(_total)?')}[{WINDOW}])", by),
            f"{{{{{by}}}}} {signal}",
        )
        for signal, items in SIGNALS.items()
    ]


def _collector() -> list[Panel]:
    return [
        graph(
            "Received",
            "Items per second that the Collector took.",
            "cps",
            *_flow("receiver_accepted", "receiver"),
            span=THIRD,
        ),
        graph(
            "Sent On",
            "Items per second that it passed on.",
            "cps",
            *_flow("exporter_sent", "exporter"),
            span=THIRD,
        ),
        graph(
            "Failed to Send On",
            "Items per second that it could not pass on.",
            "cps",
            *_flow("exporter_send_failed", "exporter"),
            span=THIRD,
        ),
        graph(
            "Refused",
            "Items per second that the Collector did not take, for want of memory most of all.",
            "cps",
            *_flow("receiver_refused", "receiver"),
            span=THIRD,
        ),
        graph(
            "Queues",
            "How full the queues before the exporters are.",
            "percentunit",
            Query(
                f"{total(_of_collector('exporter_queue_size'), 'exporter')} / "
                f"{total(_of_collector('exporter_queue_capacity'), 'exporter')}",
                "{{exporter}}",
            ),
            span=THIRD,
            maximum=1,
        ),
        graph(
            "Memory of the Collector",
            "What the system counts.",
            "bytes",
            Query(_of_collector("process_memory_rss(_bytes)?"), "{{instance}}"),
            span=THIRD,
        ),
    ]
