"""Every alert: its condition, how long the condition has to hold, and its texts.

The alerts work for any job name and any number of processes. A warning does not fire while its
critical alert does (`_unless_firing`), so that nobody is notified twice; after that, the
warning's condition has to hold for its whole time again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from operations import recording_rules as recorded
from operations import thresholds
from operations.burn_rates import BURN_RATES, BurnRate
from operations.pace import REAL, Pace, nominal_seconds
from operations.rules import Alert, Concern, Group, Severity
from riptide_telemetry import LagBound
from riptide_telemetry.labels import PUBLISH_FAILURES, PublishOutcome

if TYPE_CHECKING:
    from collections.abc import Callable

CRITICAL_AFTER_S: Final = 300
PUBLISHES_FAIL_AFTER_S: Final = 60
LOG_STALLED_AFTER_S: Final = 30
# Longer than the supervisor takes to replace a process of the log that hangs, and than an instance
# takes to reach another server of NATS.
LOG_DISCONNECTED_AFTER_S: Final = 30
FEED_LAGS_AFTER_S: Final = 60
CHECKPOINT_OVERDUE_AFTER_S: Final = 60
WARNING_AFTER_S: Final = 600
INFO_AFTER_S: Final = 900

_MIN_RESTART_WINDOW_S: Final = 60
_MIN_CHECKPOINT_AGE_S: Final = 45
_PROCESS: Final = "{{ $labels.instance }} of {{ $labels.job }}"
_PERCENT: Final = "{{ $value | humanizePercentage }}"


def alerts(pace: Pace = REAL) -> tuple[Group, ...]:
    """Return every alert, in groups by what they are about."""
    return (
        Group("riptide-errors", _errors()),
        Group("riptide-memory", _memory()),
        Group("riptide-publishes", _publishes(pace)),
        Group("riptide-log", _log(pace)),
        Group("riptide-cluster", _cluster(pace)),
        Group("riptide-messages", _messages()),
        Group("riptide-connections", _connections(pace)),
        Group("riptide-access", _access(pace)),
        Group("riptide-lag", _lag(pace)),
        Group("riptide-objectives", _objectives(pace)),
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
            "Too many streams fail.",
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
            "Streaming holds a lot of memory.",
            description,
        ),
    )


def _publishes(pace: Pace) -> tuple[Alert, ...]:
    """Return the alerts about the log, above all that it does not keep what it should.

    Each service has a log, so one full disk must not hide among many of them.
    """
    failed, kept = "|".join(PUBLISH_FAILURES), PublishOutcome.ACCEPTED
    # Checkpoints do not come faster at the pace of a drill.
    checkpoint_age_s = max(pace.seconds(thresholds.CHECKPOINT_AGE), _MIN_CHECKPOINT_AGE_S)
    window = pace.window(recorded.RECENT)
    # Their rate goes on for as long as its window after the log has come back.
    log_is_away = (
        "last_over_time(ALERTS{"
        'alertname=~"RiptideLogDisconnected|RiptideLogStalled", alertstate="firing"}'
        f"[{window}])"
    )

    def rate(outcomes: str) -> str:
        published = f'riptide_streaming_messages_published_total{{outcome=~"{outcomes}"}}'
        return f"sum by (job, instance) (rate({published}[{window}]))"

    return (
        Alert(
            "RiptidePublishesFailing",
            Severity.CRITICAL,
            Concern.PUBLISHES,
            PUBLISHES_FAIL_AFTER_S,
            f"{rate(failed)}\n/ {rate(f'{kept}|{failed}')}\n> {thresholds.PUBLISH_FAILURE_RATE}\n"
            f"unless on (job, instance) {log_is_away}",
            "Messages cannot be published: the log does not take them.",
            f"{_PERCENT} of the messages that publishers sent to {_PROCESS} in the last 5 minutes "
            "were refused with an error of the service.",
        ),
        # Also where nobody publishes: the log writes a probe now and then.
        Alert(
            "RiptideLogStalled",
            Severity.CRITICAL,
            Concern.STALL,
            LOG_STALLED_AFTER_S,
            f"riptide_log_oldest_append_age_seconds > {thresholds.APPEND_AGE:g}\n"
            "unless on (job, instance) riptide_log_connected == 0",
            "The log does not answer: publishers wait, and then are refused.",
            f"A write to the log of {_PROCESS} has taken {{{{ $value | humanizeDuration }}}}.",
        ),
        Alert(
            "RiptideLogDisconnected",
            Severity.CRITICAL,
            Concern.LOG_CONNECTION,
            LOG_DISCONNECTED_AFTER_S,
            "riptide_log_connected == 0",
            "A process does not reach its log: nothing can be published there.",
            f"{_PROCESS} does not reach its log: the servers of NATS, or with workers the process "
            "of the log.",
        ),
        Alert(
            "RiptideCheckpointOverdue",
            Severity.WARNING,
            Concern.CHECKPOINTS,
            CHECKPOINT_OVERDUE_AFTER_S,
            f"riptide_log_checkpoint_age_seconds > {checkpoint_age_s:g}",
            "The write-ahead log grows: the disk fails, or another program reads the log.",
            f"The last whole checkpoint of the log of {_PROCESS} was "
            "{{ $value | humanizeDuration }} ago.",
        ),
    )


def _log(pace: Pace) -> tuple[Alert, ...]:
    """Return the alerts about a disk that alters or loses what was written to it."""
    shown = pace.seconds(thresholds.DAMAGE_SHOWN)
    started = f"time() - process_start_time_seconds < {shown:g}"
    return (
        # Consumers may meet damage before the first scrape, and a rise of the counter is then not
        # seen.
        Alert(
            "RiptideLogDamaged",
            Severity.CRITICAL,
            Concern.DAMAGE,
            0,
            f"increase(riptide_log_damaged_messages_total[{pace.window(recorded.RECENT)}]) > 0\n"
            "or (\n  riptide_log_damaged_messages_total > 0\n"
            f"  and on (job, instance) {started}\n)",
            "Messages in the log are damaged, and consumers do not get them.",
            f"{_PROCESS} has read damaged messages, {{{{ $value | humanize }}}} times.",
            keep_s=INFO_AFTER_S,
        ),
        Alert(
            "RiptideLogLostMessages",
            Severity.CRITICAL,
            Concern.LOSS,
            0,
            f"riptide_log_lost_frames_total > 0\nand on (job, instance) {started}",
            "The write-ahead log was damaged: messages that were acknowledged may be lost.",
            f"{_PROCESS} found {{{{ $value | humanize }}}} pages behind damage when it started.",
        ),
    )


def _cluster(pace: Pace) -> tuple[Alert, ...]:
    """Return the alerts about a log that instances share."""
    window = pace.window(recorded.RECENT)

    def tries(outcomes: str) -> str:
        records = f'riptide_log_records_total{{outcome=~"{outcomes}"}}'
        return f"sum by (job, instance) (rate({records}[{window}]))"

    return (
        # Of an instance that is not connected, another alert speaks.
        Alert(
            "RiptideFeedLag",
            Severity.CRITICAL,
            Concern.FEED,
            FEED_LAGS_AFTER_S,
            "riptide_log_feed_lag_seconds > on (job, instance)\n"
            f"  {thresholds.FEED_LAG:g} + {thresholds.FEED_LAG_PER_TOPIC:g}"
            " * riptide_log_followed_topics\n"
            "unless on (job, instance) riptide_log_connected == 0",
            "An instance may not hear what is published on others.",
            f"{_PROCESS} has not seen for {{{{ $value | humanizeDuration }}}} what its log has.",
        ),
        Alert(
            "RiptideWriteConflicts",
            Severity.WARNING,
            Concern.CONFLICTS,
            WARNING_AFTER_S,
            f"{tries('conflict')}\n/ {tries('conflict|stored')}\n> {thresholds.REFUSED_TRIES:g}\n"
            f"and {tries('conflict')} > {thresholds.REFUSED_TRIES_PER_SECOND:g}",
            "An instance mostly comes too late: others write to the same topics.",
            f"{_PERCENT} of the tries of {_PROCESS} to store a record in the last 5 minutes were "
            "refused, because another instance was quicker.",
        ),
        Alert(
            "RiptideClockOffset",
            Severity.WARNING,
            Concern.CLOCK_OFFSET,
            WARNING_AFTER_S,
            "abs(riptide_log_clock_offset_seconds) - riptide_log_clock_uncertainty_seconds\n"
            f"> {thresholds.CLOCK_OFFSET:g}",
            "The clock of an instance, or of a server of NATS, is wrong.",
            f"The clocks of {_PROCESS} and of the server that leads its stream differ by "
            "{{ $value | humanizeDuration }} or more.",
        ),
        Alert(
            "RiptideClockUncertain",
            Severity.WARNING,
            Concern.CLOCK_UNCERTAINTY,
            WARNING_AFTER_S,
            f"riptide_log_clock_uncertainty_seconds > {thresholds.CLOCK_UNCERTAINTY:g}",
            "The servers of NATS are far away, and latencies between instances uncertain.",
            f"{_PROCESS} knows the clock of the server that leads its stream only to "
            "{{ $value | humanizeDuration }}: each question takes twice as long.",
        ),
        # Each instance finds it, and it is one matter. One that has just been started has found
        # nothing, whatever the others have.
        Alert(
            "RiptideLogReset",
            Severity.CRITICAL,
            Concern.RESETS,
            0,
            "count by (job) (\n"
            f"  increase(riptide_log_resets_total[{pace.window(recorded.RECENT)}]) > 0\n)",
            "The stream of the log has gone back: messages that were acknowledged may be lost.",
            "{{ $value | humanize }} instances of {{ $labels.job }} have found that the stream was "
            "restored, created anew, or has lost its end.",
            keep_s=thresholds.RESET_SHOWN,
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
        # Without consumers, or without publishes, a throughput of 0 is normal.
        Alert(
            "RiptideThroughputLow",
            Severity.INFO,
            Concern.THROUGHPUT,
            INFO_AFTER_S,
            f"{recorded.SENT} < {thresholds.THROUGHPUT_LOW:g}\n"
            f"and on (job) {recorded.ACTIVE_CONNECTIONS} > 0\n"
            f"and on (job) {recorded.PUBLISHED} > 0",
            "Almost no messages reach the consumers.",
            # "humanize" would print 0.2 as 200m, which reads like millions.
            '{{ $labels.job }} sends {{ $value | printf "%.2f" }} messages a second, though '
            "consumers are connected and messages are published.",
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
            "Connections stay open for a long time.",
            "1 % of the connections of {{ $labels.job }} that closed in the last 5 minutes had "
            "been open for longer than {{ $value | humanizeDuration }}.",
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
            "Soon no more consumers can connect.",
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
            "Consumers are disconnected because they are too slow.",
            "{{ $labels.job }} disconnects {{ $value | humanize }} slow consumers a minute.",
        ),
        # The condition has to hold for twice its window, so that one restart, after which all
        # consumers reconnect, is no storm.
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
            "Consumers keep losing their connection and reconnecting.",
            "{{ $value | humanize }} consumers a second reconnect to {{ $labels.job }}.",
        ),
    )


def _access(pace: Pace) -> tuple[Alert, ...]:
    window = pace.window(recorded.RECENT)
    return (
        Alert(
            "RiptideConnectionsRejected",
            Severity.WARNING,
            Concern.REJECTIONS,
            WARNING_AFTER_S,
            f"{recorded.REJECTED_RATIO} > {thresholds.REJECTED_CONNECTIONS}\n"
            f"and on (job) sum by (job) (increase({recorded.REJECTED}[{window}]))"
            f" > {thresholds.REJECTED_CONNECTIONS_AT_LEAST}",
            "Many consumers are refused.",
            f"{_PERCENT} of the streams that {{{{ $labels.job }}}} was asked for in 5 minutes were "
            "refused.",
        ),
        Alert(
            "RiptideTokensRefused",
            Severity.WARNING,
            Concern.TOKENS,
            WARNING_AFTER_S,
            f"{recorded.REFUSED_TOKENS_RATIO} > {thresholds.REFUSED_TOKENS}\n"
            f"and on (job) sum by (job) (increase({recorded.REFUSED_TOKENS}[{window}]))"
            f" > {thresholds.REFUSED_TOKENS_AT_LEAST}",
            "Many tokens are not accepted.",
            f"{_PERCENT} of the tokens that {{{{ $labels.job }}}} checked in 5 minutes were not "
            "accepted.",
        ),
        # A source that fails is tried again every minute, whatever the interval of readings is.
        Alert(
            "RiptideKeysNotRead",
            Severity.WARNING,
            Concern.KEYS,
            WARNING_AFTER_S,
            "sum by (job, instance) (increase("
            f'riptide_key_readings_total{{outcome="failed"}}[{window}])) > 0',
            "The keys that verify tokens can no longer be read.",
            f"{_PROCESS} failed {{{{ $value | humanize }}}} times in 5 minutes to read keys.",
        ),
        _certificate_expiry(
            "RiptideCertificateExpiryCritical",
            Severity.CRITICAL,
            CRITICAL_AFTER_S,
            pace.seconds(thresholds.CERTIFICATE_EXPIRY_CRITICAL),
        ),
        _certificate_expiry(
            "RiptideCertificateExpiryWarning",
            Severity.WARNING,
            WARNING_AFTER_S,
            pace.seconds(thresholds.CERTIFICATE_EXPIRY_WARNING),
            _unless_firing("RiptideCertificateExpiryCritical", "job, instance"),
        ),
        Alert(
            "RiptideCertificateRefused",
            Severity.WARNING,
            Concern.RENEWAL,
            CRITICAL_AFTER_S,
            "riptide_tls_certificate_refused > 0",
            "The renewed certificate cannot be served.",
            f"{_PROCESS} still serves the certificate before the renewed one.",
        ),
    )


def _certificate_expiry(
    name: str, severity: Severity, hold_s: float, seconds: float, unless: str = ""
) -> Alert:
    return Alert(
        name,
        severity,
        Concern.CERTIFICATE,
        hold_s,
        # 0 stands for a service without TLS.
        f"(riptide_tls_certificate_expiry_timestamp_seconds > 0) - time() < {seconds:g}{unless}",
        "The certificate expires soon, and then no client connects.",
        f"The certificate that {_PROCESS} serves has {{{{ $value | humanizeDuration }}}} left.",
    )


class _Objective(NamedTuple):
    """An objective, and its alert; the two functions name the recorded rules of a window."""

    alert: str
    concern: Concern
    share: float
    bad_ratio: Callable[[str], str]
    traffic: Callable[[str], str]
    summary: str
    bad_messages: str


_LATENCY: Final = _Objective(
    "RiptideDeliveryLatencyBudgetBurn",
    Concern.LATENCY,
    thresholds.DELIVERY_LATENCY_OBJECTIVE,
    recorded.late_ratio,
    recorded.live,
    "Messages reach consumers too late for the objective.",
    "of the live messages of {{ $labels.job }} left after more than "
    f"{1000 * thresholds.DELIVERY_LATENCY_TARGET:g} ms",
)
_SUCCESS: Final = _Objective(
    "RiptideDeliverySuccessBudgetBurn",
    Concern.SUCCESS,
    thresholds.DELIVERY_SUCCESS_OBJECTIVE,
    recorded.drop_ratio,
    recorded.offered,
    "Consumers lose more messages than the objective allows.",
    "of the messages that consumers of {{ $labels.job }} were owed were dropped",
)


def _objectives(pace: Pace) -> tuple[Alert, ...]:
    return tuple(
        _budget_burn(objective, rate, pace)
        for objective in (_LATENCY, _SUCCESS)
        for rate in BURN_RATES
    )


def _budget_burn(objective: _Objective, rate: BurnRate, pace: Pace) -> Alert:
    limit = f"{rate.factor * (1 - objective.share):.4g}"
    limit_percent = f"{100 * float(limit):g} %"
    window_s = f"{pace.seconds(nominal_seconds(rate.long)):g}"
    expression = (
        f"{objective.bad_ratio(rate.long)} > {limit}\n"
        f"and on (job) {objective.bad_ratio(rate.short)} > {limit}\n"
        # A ratio of few messages proves nothing.
        f"and on (job) {objective.traffic(rate.long)} * {window_s}"
        f" > {thresholds.BURN_RATE_MESSAGES}"
    )
    if rate.severity is Severity.WARNING:
        expression += _unless_firing(objective.alert, severity=Severity.CRITICAL)
    return Alert(
        objective.alert,
        rate.severity,
        objective.concern,
        rate.hold_s,
        expression,
        objective.summary,
        f"{_PERCENT} {objective.bad_messages} in the last {rate.long}. More than {limit_percent} "
        f"uses up the error budget of the objective ({100 * objective.share:g} % for 30 days) too "
        "fast.",
        {"window": rate.long},
    )


def _availability(pace: Pace) -> tuple[Alert, ...]:
    # A job is Riptide's if a target of it has reported its build within the last day.
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
        # RiptideTargetDown fires for jobs that are down. If no job is known, absent() still fires.
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
            'Prometheus scrapes no Riptide process of {{ or $labels.job "any job" }}.',
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
            "Some alerts cannot fire: series that they need are missing.",
            f"{_PROCESS} is scraped, but series that the objectives need are missing.",
        ),
    )


def _process(pace: Pace) -> tuple[Alert, ...]:
    # A process does not start faster at the pace of a drill, so the window has a minimum.
    window = pace.text(thresholds.RESTART_WINDOW, at_least_s=_MIN_RESTART_WINDOW_S)
    return (
        Alert(
            "RiptideEventLoopLag",
            Severity.WARNING,
            Concern.EVENT_LOOP,
            CRITICAL_AFTER_S,
            f"riptide_event_loop_lag_seconds > {thresholds.EVENT_LOOP_LAG}",
            "The event loop is overloaded: everything is late.",
            f"A timer in {_PROCESS} came {{{{ $value | humanizeDuration }}}} late.",
        ),
        Alert(
            "RiptideRestartLoop",
            Severity.CRITICAL,
            Concern.RESTARTS,
            0,
            f"changes(process_start_time_seconds[{window}]) >= {thresholds.RESTARTS}\n"
            # The process is down in between, and a loop may be looked at just then.
            f"and on (job, instance) last_over_time(riptide_build_info[{window}])",
            "A process keeps restarting.",
            f"{_PROCESS} has started {{{{ $value | humanize }}}} times in "
            f"{thresholds.RESTART_WINDOW / 60:g} minutes.",
        ),
    )


def _lag(pace: Pace) -> tuple[Alert, ...]:
    # A consumer that is cut off is not seen before it resumes, and it first reads what the kernel
    # has for it: a few megabytes, which may take some minutes. The window and the time for which
    # the alerts are kept firing bridge this.
    window = pace.window(recorded.RECENT)
    limit_s = pace.seconds(thresholds.CONSUMERS_BEHIND)
    bound = next(bound for bound in LagBound if bound.seconds >= limit_s)
    return (
        Alert(
            "RiptideConsumersBehind",
            Severity.WARNING,
            Concern.LAG,
            WARNING_AFTER_S,
            "sum by (job) (max_over_time(riptide_streaming_consumers_behind"
            f'{{at_least="{bound}"}}[{window}])) > 0',
            "Consumers stay far behind.",
            f"Messages come more than {thresholds.CONSUMERS_BEHIND:g} seconds late to "
            "{{ $value | humanize }} of the consumers of {{ $labels.job }}.",
            keep_s=WARNING_AFTER_S,
        ),
        Alert(
            "RiptideOldestUndeliveredMessage",
            Severity.WARNING,
            Concern.LAG,
            CRITICAL_AFTER_S,
            "max by (job) (max_over_time(riptide_streaming_oldest_undelivered_age_seconds"
            f"[{window}]))\n> {pace.seconds(thresholds.OLDEST_UNDELIVERED):g}",
            "A consumer is so far behind that the policy for slow consumers does not help.",
            "A message has waited {{ $value | humanizeDuration }} for a consumer of "
            "{{ $labels.job }}.",
            keep_s=WARNING_AFTER_S,
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
            "Riptide has lost count of messages: this is a bug in Riptide.",
            f"{_PROCESS} cannot say what became of {{{{ $value | humanize }}}} messages.",
        ),
        Alert(
            "RiptideFault",
            Severity.CRITICAL,
            Concern.FAULTS,
            0,
            "riptide_faults_total > 0\nand on (job, instance) (\n  riptide_draining == 1\n  or\n"
            f"  time() - process_start_time_seconds < {pace.seconds(thresholds.FAULT_SHOWN):g}\n)",
            "A process has met a fault of Riptide's own and ends: this is a bug in Riptide.",
            f"{_PROCESS} has met {{{{ $value | humanize }}}} faults in {{{{ $labels.part }}}}.",
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
        # Only metrics are exported at intervals; traces and logs are when there are some.
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
            "This alert always fires. If it no longer arrives, neither do the others.",
        ),
    )


def _unless_firing(name: str, on: str = "job", severity: Severity | None = None) -> str:
    selected = f'alertname="{name}", alertstate="firing"'
    if severity is not None:
        selected += f', severity="{severity}"'
    return f"\nunless on ({on}) ALERTS{{{selected}}}"
