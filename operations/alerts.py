"""Every alert: what it watches, when it speaks, and what it says.

All work for any job name and any number of processes. A warning whose critical fires is silent
(`_unless_firing`), so that nobody is told the same twice; it counts its time anew after that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from operations import recording_rules as recorded
from operations import thresholds
from operations.burn_rates import BURN_RATES, BurnRate
from operations.pace import REAL, Pace, nominal_seconds
from operations.rules import Alert, Concern, Group, Severity

if TYPE_CHECKING:
    from collections.abc import Callable

CRITICAL_AFTER_S: Final = 300
WARNING_AFTER_S: Final = 600
INFO_AFTER_S: Final = 900

_STARTS_TAKE_S: Final = 60
_PROCESS: Final = "{{ $labels.instance }} of {{ $labels.job }}"
_PERCENT: Final = "{{ $value | humanizePercentage }}"


def alerts(pace: Pace = REAL) -> tuple[Group, ...]:
    """Return every alert, in groups by what they are about."""
    return (
        Group("riptide-errors", _errors()),
        Group("riptide-memory", _memory()),
        Group("riptide-messages", _messages()),
        Group("riptide-connections", _connections(pace)),
        Group("riptide-objectives", (*_latency_burn(pace), *_success_burn(pace))),
        Group("riptide-availability", _availability(pace)),
        Group("riptide-process", _process(pace)),
        Group("riptide-telemetry", _telemetry(pace)),
    )


def _errors() -> tuple[Alert, ...]:
    description = (
        f"{_PERCENT} of the connections of {{{{ $labels.job }}}} met an error in 5 minutes."
    )
    return (
        Alert(
            "RiptideErrorRateCritical",
            Severity.CRITICAL,
            Concern.ERRORS,
            CRITICAL_AFTER_S,
            f"{recorded.ERROR_RATIO} > {thresholds.ERROR_RATE_CRITICAL}",
            "Many streams fail.",
            description,
        ),
        Alert(
            "RiptideErrorRateWarning",
            Severity.WARNING,
            Concern.ERRORS,
            WARNING_AFTER_S,
            f"{recorded.ERROR_RATIO} > {thresholds.ERROR_RATE_WARNING}"
            + _unless_firing("RiptideErrorRateCritical"),
            "More streams fail than should.",
            description,
        ),
    )


def _memory() -> tuple[Alert, ...]:
    description = f"Streaming holds {{{{ $value | humanize1024 }}}}B in {_PROCESS}."
    return (
        Alert(
            "RiptideMemoryUsageCritical",
            Severity.CRITICAL,
            Concern.MEMORY,
            CRITICAL_AFTER_S,
            f"riptide_streaming_memory_usage_bytes > {thresholds.MEMORY_USAGE_CRITICAL}",
            "Streaming holds so much memory that the process may be killed.",
            description,
        ),
        Alert(
            "RiptideMemoryUsageWarning",
            Severity.WARNING,
            Concern.MEMORY,
            WARNING_AFTER_S,
            f"riptide_streaming_memory_usage_bytes > {thresholds.MEMORY_USAGE_WARNING}"
            + _unless_firing("RiptideMemoryUsageCritical", "job, instance"),
            "Streaming holds much memory.",
            description,
        ),
    )


def _messages() -> tuple[Alert, ...]:
    ratio = recorded.drop_ratio(recorded.RECENT)
    description = (
        f"{_PERCENT} of the messages that consumers of {{{{ $labels.job }}}} were owed in the last "
        "5 minutes were dropped."
    )
    return (
        Alert(
            "RiptideMessageDropRateCritical",
            Severity.CRITICAL,
            Concern.DROPS,
            CRITICAL_AFTER_S,
            f"{ratio} > {thresholds.MESSAGE_DROP_RATE_CRITICAL}",
            "Consumers lose many messages.",
            description,
        ),
        Alert(
            "RiptideMessageDropRateWarning",
            Severity.WARNING,
            Concern.DROPS,
            WARNING_AFTER_S,
            f"{ratio} > {thresholds.MESSAGE_DROP_RATE_WARNING}"
            + _unless_firing("RiptideMessageDropRateCritical"),
            "Consumers lose messages.",
            description,
        ),
        Alert(
            "RiptideBackpressure",
            Severity.INFO,
            Concern.DROPS,
            INFO_AFTER_S,
            f"60 * {recorded.DROPPED} > {thresholds.BACKPRESSURE_DROPS_PER_MINUTE}",
            "Consumers are slower than publishers.",
            "{{ $value | humanize }} messages a minute are dropped in {{ $labels.job }}.",
        ),
        # Nobody connected, or nothing published: no throughput is as it should be.
        Alert(
            "RiptideThroughputLow",
            Severity.INFO,
            Concern.THROUGHPUT,
            INFO_AFTER_S,
            f"{recorded.SENT} < {thresholds.THROUGHPUT_LOW:g}\n"
            f"and on (job) {recorded.ACTIVE_CONNECTIONS} > 0\n"
            f"and on (job) {recorded.PUBLISHED} > 0",
            "Next to nothing reaches the consumers.",
            # "humanize" would say 200m for 0.2, which reads like millions.
            '{{ $labels.job }} sends {{ $value | printf "%.2f" }} messages a second, though '
            "somebody is connected and something is published.",
        ),
    )


def _connections(pace: Pace) -> tuple[Alert, ...]:
    window = pace.window(recorded.RECENT)
    return (
        Alert(
            "RiptideConnectionDurationP99High",
            Severity.WARNING,
            Concern.DURATION,
            WARNING_AFTER_S,
            f"{recorded.DURATION_P99} > {thresholds.CONNECTION_DURATION_P99:g}",
            "Connections stay open for long.",
            "1 % of the connections of {{ $labels.job }} that closed of late had been open for "
            "longer than {{ $value | humanizeDuration }}.",
        ),
        Alert(
            "RiptideActiveConnectionsHigh",
            Severity.INFO,
            Concern.CONNECTIONS,
            INFO_AFTER_S,
            f"{recorded.ACTIVE_CONNECTIONS} > {thresholds.ACTIVE_CONNECTIONS}",
            "Many consumers are connected.",
            "{{ $value | humanize }} connections to {{ $labels.job }} are open.",
        ),
        Alert(
            "RiptideConnectionsNearLimit",
            Severity.WARNING,
            Concern.CONNECTIONS,
            CRITICAL_AFTER_S,
            "sum by (job, instance) (riptide_streaming_active_connections)\n"
            "/ on (job, instance) riptide_connection_limit\n"
            f"> {thresholds.CONNECTIONS_NEAR_LIMIT}",
            "Soon nobody else can connect.",
            f"{_PERCENT} of the connections that {_PROCESS} allows are open.",
        ),
        Alert(
            "RiptideSlowConsumerDisconnects",
            Severity.WARNING,
            Concern.SLOW_CONSUMERS,
            CRITICAL_AFTER_S,
            "60 * sum by (job) (rate(riptide_streaming_connections_closed_total"
            f'{{reason=~"slow_consumer|client_stalled"}}[{window}]))\n'
            f"> {thresholds.SLOW_CONSUMER_DISCONNECTS_PER_MINUTE}",
            "Consumers are cut off because they are too slow.",
            "{{ $labels.job }} cuts off {{ $value | humanize }} slow consumers a minute.",
        ),
        # Held for twice its window: one restart, after which everybody comes back, is no storm.
        Alert(
            "RiptideReconnectStorm",
            Severity.WARNING,
            Concern.RECONNECTIONS,
            WARNING_AFTER_S,
            f"sum by (job) (rate(riptide_streaming_reconnections_total[{window}]))\n"
            f"> {thresholds.RECONNECTS_STORM_PER_SECOND:g}\n"
            "and\n"
            f"  sum by (job) (rate(riptide_streaming_reconnections_total[{window}]))\n"
            f"  / sum by (job) (rate(riptide_streaming_connections_opened_total[{window}]))\n"
            f"  > {thresholds.RECONNECTS_PER_CONNECTION}",
            "Consumers lose their connection and come back, again and again.",
            "{{ $value | humanize }} consumers a second reconnect to {{ $labels.job }}.",
        ),
    )


def _latency_burn(pace: Pace) -> tuple[Alert, ...]:
    target_ms = 1000 * thresholds.DELIVERY_LATENCY_TARGET
    return tuple(
        _budget_burn(
            "RiptideDeliveryLatencyBudgetBurn",
            Concern.LATENCY,
            pace,
            rate,
            recorded.late_ratio,
            recorded.live,
            thresholds.DELIVERY_LATENCY_OBJECTIVE,
            "Messages reach consumers too late for the objective.",
            f"of the live messages of {{{{ $labels.job }}}} left after more than {target_ms:g} ms",
        )
        for rate in BURN_RATES
    )


def _success_burn(pace: Pace) -> tuple[Alert, ...]:
    return tuple(
        _budget_burn(
            "RiptideDeliverySuccessBudgetBurn",
            Concern.SUCCESS,
            pace,
            rate,
            recorded.drop_ratio,
            recorded.offered,
            thresholds.DELIVERY_SUCCESS_OBJECTIVE,
            "Consumers lose more messages than the objective allows.",
            "of the messages that consumers of {{ $labels.job }} were owed were dropped",
        )
        for rate in BURN_RATES
    )


def _budget_burn(  # noqa: PLR0913, PLR0917  # what two objectives have in common, with all that differs
    name: str,
    concern: Concern,
    pace: Pace,
    rate: BurnRate,
    bad_ratio: Callable[[str], str],
    traffic: Callable[[str], str],
    objective: float,
    summary: str,
    what: str,
) -> Alert:
    limit = f"{rate.factor * (1 - objective):.4g}"
    limit_percent = f"{100 * float(limit):g} %"
    # Few messages prove nothing.
    seconds = f"{pace.seconds(nominal_seconds(rate.long)):g}"
    expression = (
        f"{bad_ratio(rate.long)} > {limit}\n"
        f"and on (job) {bad_ratio(rate.short)} > {limit}\n"
        f"and on (job) {traffic(rate.long)} * {seconds} > {thresholds.BURN_RATE_MESSAGES}"
    )
    if rate.severity is Severity.WARNING:
        expression += _unless_firing(name, severity=Severity.CRITICAL)
    return Alert(
        name,
        rate.severity,
        concern,
        rate.hold_s,
        expression,
        summary,
        f"{_PERCENT} {what} in the last {rate.long}. The objective of {100 * objective:g} % for 30 "
        f"days bears {limit_percent}.",
        {"window": rate.long},
    )


def _availability(pace: Pace) -> tuple[Alert, ...]:
    # Which jobs are Riptide's is known from what their targets said when they last answered.
    known = f"group by (job) (last_over_time(riptide_build_info[{pace.window('1d')}]))"
    return (
        Alert(
            "RiptideTargetDown",
            Severity.CRITICAL,
            Concern.AVAILABILITY,
            180,
            f"up == 0\nand on (job) {known}",
            "A Riptide process does not answer.",
            f"Prometheus cannot scrape {_PROCESS}.",
        ),
        # Of the jobs that are down this is known already; without any job, nobody says so.
        Alert(
            "RiptideAbsent",
            Severity.CRITICAL,
            Concern.AVAILABILITY,
            CRITICAL_AFTER_S,
            f"(\n  {known}\n"
            f"  or absent(last_over_time(riptide_build_info[{pace.window('1d')}]))\n)\n"
            "unless on (job) riptide_build_info\n"
            "unless on (job) up == 0",
            "Riptide has disappeared from monitoring.",
            'Prometheus has no target of {{ or $labels.job "any job" }} that is a Riptide.',
        ),
        Alert(
            "RiptideIndicatorAbsent",
            Severity.WARNING,
            Concern.INDICATORS,
            WARNING_AFTER_S,
            "riptide_build_info unless on (job, instance) (\n"
            "  riptide_streaming_messages_sent_total\n"
            "  and on (job, instance) riptide_streaming_messages_dropped_total\n"
            "  and on (job, instance) riptide_streaming_errors_total\n"
            "  and on (job, instance) riptide_streaming_connection_duration_seconds_bucket\n"
            "  and on (job, instance) riptide_streaming_delivery_latency_seconds_bucket"
            f'{{le="{thresholds.DELIVERY_LATENCY_TARGET}"}}\n'
            ")",
            "Alerts are blind: series that they need are missing.",
            f"{_PROCESS} is scraped, but not all the series that the objectives need arrive.",
        ),
    )


def _process(pace: Pace) -> tuple[Alert, ...]:
    # No pace makes a process start faster.
    window = pace.text(thresholds.RESTART_WINDOW, at_least_s=_STARTS_TAKE_S)
    return (
        Alert(
            "RiptideEventLoopLag",
            Severity.WARNING,
            Concern.EVENT_LOOP,
            CRITICAL_AFTER_S,
            f"riptide_event_loop_lag_seconds > {thresholds.EVENT_LOOP_LAG}",
            "The event loop is overworked: everything is late.",
            f"A timer in {_PROCESS} came {{{{ $value | humanizeDuration }}}} late.",
        ),
        Alert(
            "RiptideRestartLoop",
            Severity.CRITICAL,
            Concern.RESTARTS,
            0,
            f"changes(process_start_time_seconds[{window}]) >= {thresholds.RESTARTS}\n"
            "and on (job, instance) riptide_build_info",
            "A process starts again and again.",
            f"{_PROCESS} has started {{{{ $value | humanize }}}} times in "
            f"{thresholds.RESTART_WINDOW / 60:g} minutes.",
        ),
    )


def _telemetry(pace: Pace) -> tuple[Alert, ...]:
    window = pace.window(recorded.RECENT)
    enabled = "and on (job, instance, signal) riptide_export_enabled == 1"
    return (
        Alert(
            "RiptideMessagesUnaccounted",
            Severity.WARNING,
            Concern.ACCOUNTING,
            CRITICAL_AFTER_S,
            "riptide_streaming_messages_unaccounted != 0",
            "Riptide has lost count of messages: this is a fault of Riptide.",
            f"{_PROCESS} cannot say what became of {{{{ $value | humanize }}}} messages.",
        ),
        Alert(
            "RiptideExportsFailing",
            Severity.WARNING,
            Concern.EXPORTS,
            WARNING_AFTER_S,
            f"60 * rate(riptide_export_failures_total[{window}]) > 0\n{enabled}",
            "Telemetry does not reach the collector.",
            f"{_PROCESS} fails to export {{{{ $labels.signal }}}}, {{{{ $value | humanize }}}} "
            "times a minute.",
        ),
        # Metrics are exported all the time; traces and logs only when there are some.
        Alert(
            "RiptideExportSilence",
            Severity.WARNING,
            Concern.EXPORTS,
            CRITICAL_AFTER_S,
            "time() - (\n"
            '  riptide_export_last_success_timestamp_seconds{signal="metrics"} > 0\n'
            "  or\n"
            '  riptide_export_enabled{signal="metrics"}\n'
            "  * on (job, instance) group_left () process_start_time_seconds\n"
            f") > {pace.seconds(thresholds.EXPORT_SILENCE):g}\n"
            f"{enabled}",
            "Telemetry no longer reaches the collector.",
            f"{_PROCESS} last exported metrics {{{{ $value | humanizeDuration }}}} ago.",
        ),
        Alert(
            "RiptideWatchdog",
            Severity.NONE,
            Concern.ALERTING,
            0,
            "vector(1)",
            "Alerting works.",
            "This alert always fires. When it no longer arrives, no alert does.",
        ),
    )


def _unless_firing(name: str, on: str = "job", severity: Severity | None = None) -> str:
    selected = f'alertname="{name}", alertstate="firing"'
    if severity is not None:
        selected += f', severity="{severity}"'
    return f"\nunless on ({on}) ALERTS{{{selected}}}"
