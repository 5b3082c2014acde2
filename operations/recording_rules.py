"""The queries that several rules share, recorded once.

A ratio divides one sum of rates by another: an average of ratios would let a quiet process weigh as
much as a busy one. Where nothing was attempted a ratio is 0/0, that is NaN, and no alert fires:
NaN is neither above nor below a threshold.
"""

from __future__ import annotations

from typing import Final

from operations import thresholds
from operations.burn_rates import WINDOWS
from operations.pace import REAL, Pace
from operations.rules import Group, RecordingRule

# The window of rates that stand for the present.
RECENT: Final = "5m"

ACTIVE_CONNECTIONS: Final = "job:riptide_streaming_active_connections:sum"
SENT: Final = f"job:riptide_streaming_messages_sent:rate{RECENT}"
PUBLISHED: Final = f"job:riptide_streaming_messages_published:rate{RECENT}"
DROPPED: Final = f"job:riptide_streaming_messages_dropped:rate{RECENT}"
ERROR_RATIO: Final = f"job:riptide_streaming_errors:ratio_rate{RECENT}"
REJECTED_RATIO: Final = f"job:riptide_streaming_connections_rejected:ratio_rate{RECENT}"
REFUSED_TOKENS_RATIO: Final = f"job:riptide_token_checks:refused_ratio_rate{RECENT}"
DURATION_P99: Final = f"job:riptide_streaming_connection_duration_seconds:p99_rate{RECENT}"

REJECTED: Final = 'riptide_streaming_connections_rejected_total{reason!="draining"}'
REFUSED_TOKENS: Final = 'riptide_token_checks_total{outcome!="accepted"}'


def offered(window: str) -> str:
    """Return the name of the recorded rate of messages sent or dropped, per second."""
    return f"job:riptide_streaming_messages_offered:rate{window}"


def drop_ratio(window: str) -> str:
    """Return the name of the recorded ratio dropped ÷ (sent + dropped)."""
    return f"job:riptide_streaming_messages_dropped:ratio_rate{window}"


def live(window: str) -> str:
    """Return the name of the recorded rate of live messages sent, per second."""
    return f"job:riptide_streaming_delivery_latency_seconds:rate{window}"


def late_ratio(window: str) -> str:
    """Return the name of the recorded ratio of live messages sent too late ÷ all live ones."""
    return f"job:riptide_streaming_delivery_latency_seconds:late_ratio_rate{window}"


def recording_rules(pace: Pace = REAL) -> tuple[Group, ...]:
    """Return every recording rule. Their names have the nominal window, whatever the pace."""
    return (_recent(pace), _delivery(pace))


def _recent(pace: Pace) -> Group:
    window = pace.window(RECENT)
    return Group(
        "riptide-recent",
        (
            RecordingRule(
                ACTIVE_CONNECTIONS, "sum by (job) (riptide_streaming_active_connections)"
            ),
            RecordingRule(
                SENT, f"sum by (job) (rate(riptide_streaming_messages_sent_total[{window}]))"
            ),
            RecordingRule(
                PUBLISHED,
                "sum by (job) (rate("
                f'riptide_streaming_messages_published_total{{outcome="accepted"}}[{window}]))',
            ),
            RecordingRule(
                DROPPED, f"sum by (job) (rate(riptide_streaming_messages_dropped_total[{window}]))"
            ),
            # Relative to all connections that were open within the window, as the service's own
            # error rate is.
            RecordingRule(
                ERROR_RATIO,
                f"sum by (job) (increase(riptide_streaming_errors_total[{window}]))\n"
                "/\n"
                "(\n"
                f"  sum by (job) (increase(riptide_streaming_connections_closed_total[{window}]))\n"
                "  + sum by (job) (riptide_streaming_active_connections)\n"
                ")",
            ),
            # Of the streams that were asked for. A server that drains refuses them on purpose.
            RecordingRule(
                REJECTED_RATIO,
                f"sum by (job) (rate({REJECTED}[{window}]))\n"
                "/\n"
                "(\n"
                f"  sum by (job) (rate({REJECTED}[{window}]))\n"
                f"  + sum by (job) (rate(riptide_streaming_connections_opened_total[{window}]))\n"
                ")",
            ),
            RecordingRule(
                REFUSED_TOKENS_RATIO,
                f"sum by (job) (rate({REFUSED_TOKENS}[{window}]))\n"
                f"/ sum by (job) (rate(riptide_token_checks_total[{window}]))",
            ),
            RecordingRule(
                DURATION_P99,
                "histogram_quantile(0.99, sum by (job, le) (rate("
                f"riptide_streaming_connection_duration_seconds_bucket[{window}])))",
            ),
        ),
    )


def _delivery(pace: Pace) -> Group:
    rules: list[RecordingRule] = []
    for name in WINDOWS:
        window = pace.window(name)
        dropped = f"sum by (job) (rate(riptide_streaming_messages_dropped_total[{window}]))"
        latency = "riptide_streaming_delivery_latency_seconds"
        in_time = f'source="live", le="{thresholds.DELIVERY_LATENCY_TARGET}"'
        rules += [
            RecordingRule(
                offered(name),
                f"sum by (job) (rate(riptide_streaming_messages_sent_total[{window}]))\n"
                f"+ {dropped}",
            ),
            RecordingRule(drop_ratio(name), f"{dropped}\n/ {offered(name)}"),
            RecordingRule(
                live(name), f'sum by (job) (rate({latency}_count{{source="live"}}[{window}]))'
            ),
            RecordingRule(
                late_ratio(name),
                f"1 - sum by (job) (rate({latency}_bucket{{{in_time}}}[{window}]))\n/ {live(name)}",
            ),
        ]
    return Group("riptide-delivery", tuple(rules))
