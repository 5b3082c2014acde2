"""Generates docs/metrics.md: every metric of the catalog, and queries to begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from riptide_telemetry import catalog
from riptide_telemetry.catalog import CATALOG, Kind, MetricDefinition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from riptide_telemetry.catalog import Label

FILE: Final = "docs/metrics.md"

INTRODUCTION: Final = """\
# Metrics

All metrics of Riptide, as Prometheus reads them at `/metrics`. This page is generated from
`telemetry/riptide_telemetry/catalog.py` (`make kit`); do not edit it.

- Every series exists from the first scrape, at zero, so `rate()` and `increase()` never miss the
  first event, and a missing series always means a missing service. The only exceptions are the
  metrics with the label `topic` (`riptide_topic_…`): they exist only if `RIPTIDE_TOPIC_LABELS` is
  set, and the values of the label are the prefixes in it, and `other`.
- Label values come from closed sets; a client cannot add a series.
- A message is *sent* when the transport of a consumer whose connection is up has taken it. The
  message is not yet *received*: see [architecture.md](architecture.md).
- Ratios have no unit and lie between 0 and 1. Do not average them over instances: sum numerators
  and denominators apart and divide the sums, as the examples do.
- With several workers, `/metrics` on the shared port shows them as one process. "Workers" says how
  a metric is merged ([workers.md](workers.md#one-metrics-for-all-workers)).
- Besides these, `/metrics` has `target_info` (the service's resource attributes),
  `http_server_request_duration_seconds` and other metrics of the endpoints that do not stream, and
  the usual `process_` and `python_` metrics of the process.
"""

_PROMETHEUS_TYPES: Final = {
    Kind.COUNTER: "counter",
    Kind.UP_DOWN_COUNTER: "gauge",
    Kind.GAUGE: "gauge",
    Kind.HISTOGRAM: "histogram",
}
_UNITS: Final = {"s": "seconds", "By": "bytes", "": "none"}

EXAMPLES: Final[dict[MetricDefinition, str]] = {
    catalog.ACTIVE_CONNECTIONS: "sum(riptide_streaming_active_connections)",
    catalog.CONNECTION_DURATION: (
        "histogram_quantile(0.99, "
        "sum by (le) (rate(riptide_streaming_connection_duration_seconds_bucket[5m])))"
    ),
    catalog.MESSAGES_SENT: "sum by (protocol) (rate(riptide_streaming_messages_sent_total[5m]))",
    catalog.MESSAGES_DROPPED: (
        "sum by (reason) (increase(riptide_streaming_messages_dropped_total[1h]))"
    ),
    catalog.ERROR_RATE: "100 * max by (instance) (riptide_streaming_error_rate)",
    catalog.MEMORY_USAGE: "riptide_streaming_memory_usage_bytes / (1024 * 1024)",
    catalog.DELIVERY_RATIO: (
        "sum(rate(riptide_streaming_messages_sent_total[5m])) / "
        "(sum(rate(riptide_streaming_messages_sent_total[5m])) + "
        "sum(rate(riptide_streaming_messages_dropped_total[5m])))"
    ),
    catalog.RECONNECTION_RATE: (
        "sum(rate(riptide_streaming_reconnections_total[5m])) / "
        "sum(rate(riptide_streaming_connections_opened_total[5m]))"
    ),
    catalog.CONNECTIONS_OPENED: "sum(rate(riptide_streaming_connections_opened_total[5m]))",
    catalog.CONNECTIONS_CLOSED: (
        "topk(5, sum by (reason) (increase(riptide_streaming_connections_closed_total[1h])))"
    ),
    catalog.CONNECTIONS_REJECTED: (
        "sum by (reason) (rate(riptide_streaming_connections_rejected_total[5m])) > 0"
    ),
    catalog.RECONNECTIONS: (
        'sum(increase(riptide_streaming_reconnections_total{outcome!="resumed"}[1h]))'
    ),
    catalog.STREAMS_ENDED: (
        'sum by (protocol) (rate(riptide_streaming_streams_ended_total{outcome="failed"}[5m]))'
    ),
    catalog.ERRORS: "sum by (error_type) (rate(riptide_streaming_errors_total[5m]))",
    catalog.MESSAGES_PUBLISHED: (
        'sum(rate(riptide_streaming_messages_published_total{outcome="accepted"}[5m]))'
    ),
    catalog.SENT_BYTES: "8 * sum by (protocol) (rate(riptide_streaming_sent_bytes_total[5m]))",
    catalog.DELIVERY_LATENCY: (
        "histogram_quantile(0.99, sum by (le) "
        '(rate(riptide_streaming_delivery_latency_seconds_bucket{source="live"}[5m])))'
    ),
    catalog.TIME_TO_FIRST_MESSAGE: (
        "histogram_quantile(0.5, sum by (le, protocol) "
        "(rate(riptide_streaming_time_to_first_message_seconds_bucket[5m])))"
    ),
    catalog.MESSAGES_UNACCOUNTED: "riptide_streaming_messages_unaccounted != 0",
    catalog.TOPIC_MESSAGES_SENT: (
        "topk(5, sum by (topic) (rate(riptide_topic_messages_sent_total[5m])))"
    ),
    catalog.WRITE_WAIT: "sum by (protocol) (rate(riptide_streaming_write_wait_seconds_sum[5m]))",
    catalog.BACKPRESSURE_EVENTS: (
        "60 * sum by (protocol) (rate(riptide_streaming_backpressure_events_total[5m]))"
    ),
    catalog.CONSUMER_LAG: "max by (instance) (riptide_streaming_consumer_lag)",
    catalog.FAULTS: "sum by (job, instance, part) (riptide_faults_total) > 0",
    catalog.CONSUMERS_BEHIND: (
        'sum by (job) (riptide_streaming_consumers_behind{at_least="minute"})'
    ),
    catalog.OLDEST_UNDELIVERED_AGE: (
        "max by (job) (riptide_streaming_oldest_undelivered_age_seconds)"
    ),
    catalog.LOG_APPEND_DURATION: (
        "histogram_quantile(0.99, "
        "sum by (le) (rate(riptide_log_append_duration_seconds_bucket[5m])))"
    ),
    catalog.LOG_DAMAGED_MESSAGES: (
        "sum by (job, instance) (increase(riptide_log_damaged_messages_total[1h])) > 0"
    ),
    catalog.LOG_LOST_FRAMES: "sum by (job, instance) (riptide_log_lost_frames_total) > 0",
    catalog.LOG_RECORDS: (
        'sum by (instance, outcome) (rate(riptide_log_records_total{outcome!="stored"}[5m]))'
    ),
    catalog.LOG_GAPS: "sum by (instance, found_by) (increase(riptide_log_gaps_total[1h]))",
    catalog.LOG_FEED_LAG: "max by (job, instance) (riptide_log_feed_lag_seconds)",
    catalog.LOG_RESETS: "sum by (job, instance) (increase(riptide_log_resets_total[1d])) > 0",
    catalog.LOG_SIZE: "deriv(riptide_log_size_bytes[1h])",
    catalog.LOG_FREE_SIZE: "riptide_log_free_size_bytes / riptide_log_size_bytes",
    catalog.CONNECTION_LIMIT: (
        "sum by (job, instance) (riptide_streaming_active_connections) / "
        "on (job, instance) riptide_connection_limit"
    ),
    catalog.EVENT_LOOP_LAG: "max_over_time(riptide_event_loop_lag_seconds[15m])",
    catalog.TOKEN_CHECKS: "sum by (outcome) (rate(riptide_token_checks_total[5m]))",
    catalog.KEY_READINGS: (
        'sum by (instance) (increase(riptide_key_readings_total{outcome="failed"}[1h]))'
    ),
    catalog.KEYS_AGE: "max by (instance) (riptide_keys_age_seconds)",
    catalog.CERTIFICATE_EXPIRY: (
        "((riptide_tls_certificate_expiry_timestamp_seconds > 0) - time()) / 86400 > 0"
    ),
    catalog.EXPORT_FAILURES: "sum by (signal) (increase(riptide_export_failures_total[1h]))",
    catalog.EXPORT_LAST_SUCCESS: (
        "time() - riptide_export_last_success_timestamp_seconds "
        "and on (job, instance, signal) riptide_export_enabled == 1"
    ),
    catalog.BUILD_INFO: "count by (version) (riptide_build_info)",
}
"""Queries to begin with, for the metrics whose use is not clear from their name."""


def generate() -> dict[str, str]:
    """Return the page by the name of its file."""
    overview = [
        "| metric | type | unit | labels |",
        "|---|---|---|---|",
        *map(_row, CATALOG),
    ]
    sections = (line for definition in CATALOG for line in _section(definition))
    return {FILE: "\n".join([INTRODUCTION, *overview, *sections]) + "\n"}


def _row(definition: MetricDefinition) -> str:
    name = definition.prometheus_name
    labels = ", ".join(f"`{label.key}`" for label in definition.labels) or "none"
    return f"| [`{name}`](#{name}) | {_type(definition)} | {_unit(definition)} | {labels} |"


def _section(definition: MetricDefinition) -> Iterator[str]:
    yield ""
    yield f"## {definition.prometheus_name}"
    yield ""
    yield definition.description
    yield ""
    unit = _unit(definition)
    yield f"- {_type(definition)}, unit: {unit}; `{definition.name}` in OpenTelemetry"
    yield f"- workers: {definition.merge.value}"
    for label in definition.labels:
        yield f"- label `{label.key}`: {_values(label)}"
    if definition.bounds:
        yield f"- bounds: {', '.join(f'{bound:g}' for bound in definition.bounds)}"
    if example := EXAMPLES.get(definition):
        yield ""
        yield "```promql"
        yield example
        yield "```"


def _type(definition: MetricDefinition) -> str:
    return _PROMETHEUS_TYPES[definition.kind]


def _unit(definition: MetricDefinition) -> str:
    unit = definition.unit
    return _UNITS.get(unit) or f"{unit.strip('{}')}s"


def _values(label: Label) -> str:
    if label.values is None:
        return "a prefix from `RIPTIDE_TOPIC_LABELS`, or `other`"
    return ", ".join(f"`{value}`" for value in label.values)
