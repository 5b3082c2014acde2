"""Whether the other boards can be trusted: scrapes, exports, Collector, accounts of messages."""

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
"""The Collector's name for the items of each signal."""


def generate() -> dict[str, str]:
    """Return the dashboard."""
    return board(
        "telemetry-health",
        "Riptide Telemetry Health",
        "Can the other boards be trusted? Scrapes, messages that are not accounted for, exports "
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
            "is a bug in Riptide.",
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
            "Number of instances that run each version.",
            "short",
            total(whole(catalog.BUILD_INFO), "version"),
            legend="{{version}}",
            span=THIRD,
        ),
        stat(
            "Faults",
            "Faults of Riptide's own, by the part that met them. A process drains and ends after "
            "the first; the one after it shows it as well.",
            "short",
            total(whole(catalog.FAULTS), "part") + " > 0 or vector(0)",
            legend="{{part}}",
            limits=Limits(critical=1),
            span=THIRD,
        ),
        graph(
            "Damaged Messages",
            "Messages of the log that were to be read and failed their check, and pages that the "
            "start found behind damage in the write-ahead log. Anything but 0 is a failing disk.",
            "short",
            Query(
                f"increase({whole(catalog.LOG_DAMAGED_MESSAGES)}[$__rate_interval])",
                "{{instance}} damaged",
            ),
            Query(whole(catalog.LOG_LOST_FRAMES), "{{instance}} lost pages"),
            span=THIRD,
        ),
        graph(
            "Dropped Log Records",
            "Log records that nobody got, because the reader of standard error was slow or gone.",
            "short",
            Query(
                f"increase({whole(catalog.LOG_RECORDS_DROPPED)}[$__rate_interval])", "{{instance}}"
            ),
            span=THIRD,
        ),
        graph(
            "Unaccounted Messages over Time",
            "Unaccounted messages of each instance. Log records at the time of a step say more.",
            "short",
            Query(whole(catalog.MESSAGES_UNACCOUNTED), "{{instance}}"),
            span=THIRD,
        ),
        graph(
            "Restarts",
            "Restarts of each instance in the last 15 minutes. A restart sets all counters to 0.",
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
            "1 if the last scrape of an instance succeeded, 0 if it failed.",
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
            "Number of series of each instance. It does not grow with connections, because all "
            "label values are known beforehand.",
            "short",
            Query(select("scrape_samples_scraped"), "{{instance}}"),
            span=THIRD,
        ),
    ]


def _exports() -> list[Panel]:
    enabled = select(catalog.EXPORT_ENABLED)
    last = select(catalog.EXPORT_LAST_SUCCESS)
    # If no export has succeeded yet, the time runs from the start of the process.
    since = f"({last} > 0 or {last} + on ({INSTANCE}) group_left {START})"
    return [
        graph(
            "Time Since the Last Export",
            "Time since the last successful export of each signal that is exported, or since the "
            "start of the process if none has succeeded.",
            "s",
            Query(
                f"{enabled} * on ({INSTANCE}, signal) (time() - {since})", "{{instance}} {{signal}}"
            ),
            limits=Limits(critical=thresholds.EXPORT_SILENCE),
            span=THIRD,
        ),
        graph(
            "Failed Exports",
            "Failed exports per minute. The next export makes up for lost metrics, but spans and "
            "log records of a failed export are lost.",
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
    """Select one of the Collector's own metrics; its configuration decides about suffixes."""
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
            "Items per second that the Collector passed on.",
            "cps",
            *_flow("exporter_sent", "exporter"),
            span=THIRD,
        ),
        graph(
            "Failed to Send On",
            "Items per second that the Collector could not pass on.",
            "cps",
            *_flow("exporter_send_failed", "exporter"),
            span=THIRD,
        ),
        graph(
            "Refused",
            "Items per second that the Collector did not take, mostly because it lacked memory.",
            "cps",
            *_flow("receiver_refused", "receiver"),
            span=THIRD,
        ),
        graph(
            "Queues",
            "Share of each exporter's queue that is full.",
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
            "Resident memory of the Collector, as the system counts it.",
            "bytes",
            Query(_of_collector("process_memory_rss(_bytes)?"), "{{instance}}"),
            span=THIRD,
        ),
    ]
