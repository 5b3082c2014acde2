"""Cases of the alerts beyond the ten."""

from __future__ import annotations

from typing import Final

from operations.rule_cases.case import INSTANCE, JOB, PROCESS, Case, Firing, Series, named, series
from riptide_telemetry import catalog
from riptide_telemetry.labels import PUBLISH_FAILURES, PublishOutcome

OF_JOB: Final = {"job": JOB}
LIVE: Final = {"protocol": "sse", "source": "live"}
HERE: Final = f"{INSTANCE} of {JOB}"
PRESENT: Final = series(catalog.BUILD_INFO, "1x60", version="0.1.0")


def _availability() -> tuple[Case, ...]:
    gone = series(catalog.BUILD_INFO, "1x10 stale", version="0.1.0")
    return (
        Case(
            "RiptideTargetDown",
            "fires when a process that was a Riptide has not answered for three minutes",
            {**named("up", "1x10 0x40"), **gone},
            "15m",
            (Firing(f"Prometheus cannot scrape {HERE}."),),
        ),
        Case(
            "RiptideTargetDown",
            "fires for the one process of several that is down",
            {
                **named("up", "1x10 0x40"),
                **named("up", "1x60", instance="riptide-2:8080"),
                **series(catalog.BUILD_INFO, "1x60", version="0.1.0", instance="riptide-2:8080"),
            },
            "15m",
            (Firing(f"Prometheus cannot scrape {HERE}."),),
        ),
        Case(
            "RiptideTargetDown",
            "is quiet about two minutes without an answer",
            {**named("up", "1x10 0 0 1x40"), **PRESENT},
            "13m",
        ),
        Case(
            "RiptideTargetDown",
            "is quiet about what never was a Riptide",
            {**named("up", "0x40", job="node"), **PRESENT},
            "30m",
        ),
        Case(
            "RiptideAbsent",
            "fires when the only target of a job has disappeared",
            {**named("up", "1x10 stale"), **gone},
            "20m",
            (Firing("Prometheus scrapes no Riptide process of riptide.", OF_JOB),),
        ),
        Case(
            "RiptideAbsent",
            "fires when Prometheus has never seen a Riptide",
            named("up", "1x40", job="node"),
            "10m",
            (Firing("Prometheus scrapes no Riptide process of any job.", {}),),
        ),
        Case(
            "RiptideAbsent",
            "is quiet about a target that is down, of which another alert speaks",
            {**named("up", "1x10 0x40"), **gone},
            "30m",
            meanwhile=("RiptideTargetDown",),
        ),
        Case("RiptideAbsent", "is quiet while one is scraped", PRESENT, "30m"),
    )


_INDICATORS: Final = {
    **PRESENT,
    **series(catalog.MESSAGES_SENT, "0x60", protocol="sse"),
    **series(catalog.MESSAGES_DROPPED, "0x60", protocol="sse", reason="expired"),
    **series(catalog.ERRORS, "0x60", protocol="sse", error_type="internal"),
    **series(catalog.CONNECTION_DURATION, "0x60", "_bucket", protocol="sse", le="60.0"),
}


def _indicators() -> tuple[Case, ...]:
    latency = series(
        catalog.DELIVERY_LATENCY, "0x60", "_bucket", protocol="sse", source="live", le="0.25"
    )
    return (
        Case(
            "RiptideIndicatorAbsent",
            "fires when a process is scraped without the buckets of the objective",
            _INDICATORS,
            "15m",
            (
                Firing(
                    f"{HERE} is scraped, but series that the objectives need are missing.",
                    PROCESS | {"version": "0.1.0"},
                ),
            ),
        ),
        Case(
            "RiptideIndicatorAbsent",
            "is quiet when all series arrive, though they are all 0",
            {**_INDICATORS, **latency},
            "30m",
        ),
    )


def _latency(per_minute: int, late: int, minutes: int) -> Series:
    latency = catalog.DELIVERY_LATENCY
    in_time = per_minute - late
    return {
        **series(latency, f"0+{in_time}x{minutes}", "_bucket", **LIVE, le="0.25"),
        **series(latency, f"0+{per_minute}x{minutes}", "_bucket", **LIVE, le="+Inf"),
        **series(latency, f"0+{per_minute}x{minutes}", "_count", **LIVE),
    }


def _drops(per_minute: int, dropped: int, minutes: int) -> Series:
    sent = per_minute - dropped
    return {
        **series(catalog.MESSAGES_SENT, f"0+{sent}x{minutes}", protocol="sse"),
        **series(
            catalog.MESSAGES_DROPPED,
            f"0+{dropped}x{minutes}",
            protocol="sse",
            reason="slow_consumer",
        ),
    }


def _burning(text: str, *windows: tuple[str, str]) -> tuple[Firing, ...]:
    """Return the alert as each pair of windows sends it."""
    return tuple(
        Firing(text.format(window=window, limit=limit), {"job": JOB, "window": window})
        for window, limit in windows
    )


def _latency_burn() -> tuple[Case, ...]:
    name = "RiptideDeliveryLatencyBudgetBurn"
    text = (
        "of the live messages of riptide left after more than 250 ms in the last {window}. More "
        "than {limit} uses up the error budget of the objective (99 % for 30 days) too fast."
    )
    hour, six_hours = ("1h", "14.4 %"), ("6h", "6 %")
    day, three_days = ("1d", "3 %"), ("3d", "1 %")
    return (
        Case(
            name,
            "fires on the pair of an hour when a fifth of the messages has been late for an hour",
            _latency(per_minute=2_000, late=400, minutes=60),
            "10m",
            _burning(f"20% {text}", hour),
        ),
        Case(
            name,
            "fires on the pair of six hours when a tenth of the messages has been late",
            _latency(per_minute=2_000, late=200, minutes=400),
            "6h",
            _burning(f"10% {text}", six_hours),
        ),
        Case(
            name,
            "fires on the pairs of a day and of three when 4 % of the messages have been late",
            _latency(per_minute=2_000, late=80, minutes=500),
            "8h",
            _burning(f"4% {text}", day, three_days),
        ),
        Case(
            name,
            "fires on the pair of three days when 2 % of the messages have been late",
            _latency(per_minute=2_000, late=40, minutes=500),
            "8h",
            _burning(f"2% {text}", three_days),
        ),
        Case(
            name,
            "is quiet as soon as the short window is clean again",
            {
                **series(
                    catalog.DELIVERY_LATENCY,
                    "0+2000x1200 2401600+1600x49 2482000+2000x64",
                    "_bucket",
                    **LIVE,
                    le="0.25",
                ),
                **series(catalog.DELIVERY_LATENCY, "0+2000x1315", "_count", **LIVE),
            },
            "1255m",
        ),
        Case(
            name,
            "is quiet when half a percent of the messages is late for a working day",
            _latency(per_minute=2_000, late=10, minutes=500),
            "8h",
        ),
        Case(
            name,
            "is quiet when all of too few messages are late",
            _latency(per_minute=2, late=2, minutes=120),
            "2h",
        ),
    )


def _success_burn() -> tuple[Case, ...]:
    name = "RiptideDeliverySuccessBudgetBurn"
    text = (
        "of the messages that consumers of riptide were owed were dropped in the last {window}. "
        "More than {limit} uses up the error budget of the objective (99.9 % for 30 days) too "
        "fast."
    )
    return (
        Case(
            name,
            "fires on the pair of an hour when 2 % of the messages have been dropped",
            _drops(per_minute=2_000, dropped=40, minutes=60),
            "10m",
            _burning(f"2% {text}", ("1h", "1.44 %")),
        ),
        Case(
            name,
            "fires on the pair of six hours when 1 % of the messages has been dropped",
            _drops(per_minute=2_000, dropped=20, minutes=400),
            "6h",
            _burning(f"1% {text}", ("6h", "0.6 %")),
        ),
        Case(
            name,
            "fires on the pairs of a day and of three when 0.4 % of the messages are dropped",
            _drops(per_minute=2_000, dropped=8, minutes=500),
            "8h",
            _burning(f"0.4% {text}", ("1d", "0.3 %"), ("3d", "0.1 %")),
        ),
        Case(
            name,
            "fires on the pair of three days when 0.2 % of the messages have been dropped",
            _drops(per_minute=2_000, dropped=4, minutes=500),
            "8h",
            _burning(f"0.2% {text}", ("3d", "0.1 %")),
        ),
        Case(
            name,
            "is quiet when one message in two thousand is dropped for a working day",
            _drops(per_minute=2_000, dropped=1, minutes=500),
            "8h",
        ),
        Case(
            name,
            "is quiet when all of too few messages are dropped",
            _drops(per_minute=2, dropped=2, minutes=120),
            "2h",
        ),
    )


def _log() -> tuple[Case, ...]:
    name = "RiptideLogStalled"
    return (
        Case(
            name,
            "fires within a minute when a write to the log does not come to its end",
            series(catalog.OLDEST_APPEND_AGE, "0x10 8+15x20"),
            "12m",
            (Firing(f"A write to the log of {HERE} has taken 23s."),),
        ),
        Case(
            name,
            "is quiet about a disk that is slow, and about one that hung for a moment",
            series(catalog.OLDEST_APPEND_AGE, "0x10 4x10 8 0x20"),
            "22m",
        ),
        Case(
            name,
            "is silent while the process does not reach its log, of which another alert speaks",
            {
                **series(catalog.OLDEST_APPEND_AGE, "0x10 10x20"),
                **series(catalog.LOG_CONNECTED, "1x10 0x20"),
            },
            "15m",
            meanwhile=("RiptideLogDisconnected",),
        ),
        Case(
            "RiptideLogDisconnected",
            "fires when a process of the log does not come back",
            series(catalog.LOG_CONNECTED, "1x10 0x20"),
            "12m",
            (
                Firing(
                    f"{HERE} does not reach its log: the servers of NATS, or with workers the "
                    "process of the log.",
                ),
            ),
        ),
        Case(
            "RiptideLogDisconnected",
            "is quiet about a process of the log, or a server, that is replaced",
            series(catalog.LOG_CONNECTED, "1x10 0 1x20"),
            "10m30s",
        ),
        Case(
            "RiptideCheckpointOverdue",
            "fires when the write-ahead log has not been moved to the database for six minutes",
            series(catalog.CHECKPOINT_AGE, "0x10 0+60x20"),
            "18m",
            (Firing(f"The last whole checkpoint of the log of {HERE} was 7m 0s ago."),),
        ),
        Case(
            "RiptideCheckpointOverdue",
            "is quiet about a backup of four minutes, and about checkpoints that come in time",
            series(catalog.CHECKPOINT_AGE, "0x5 30x5 0+60x4 0 30x20"),
            "16m",
        ),
    )


def _published(**per_minute: str) -> Series:
    """Return series of published messages by their outcome."""
    found: Series = {}
    for outcome in PublishOutcome:
        values = per_minute.get(outcome, "0x40")
        found = {**found, **series(catalog.MESSAGES_PUBLISHED, values, outcome=outcome)}
    return found


def _publishes() -> tuple[Case, ...]:
    name = "RiptidePublishesFailing"
    text = (
        f"of the messages that publishers sent to {HERE} in the last 5 minutes were refused with "
        "an error of the service."
    )
    other = dict.fromkeys(set(PublishOutcome) - {*PUBLISH_FAILURES, "accepted"}, "0+60x40")
    return (
        Case(
            name,
            "fires within five minutes when the log takes no message any more",
            _published(accepted="0+60x10 600x30", log_failure="0x10 60+60x30"),
            "15m",
            (Firing(f"100% {text}"),),
        ),
        Case(
            name,
            "fires when one message of fifty is lost to an unexpected error",
            _published(accepted="0+49x40", internal_error="0+1x40"),
            "10m",
            (Firing(f"2% {text}"),),
        ),
        Case(
            name,
            "fires where a message is published every four minutes, and the log takes none",
            _published(log_failure="0 0 0 1 1 1 1 2 2 2 2 3 3 3 3 4 4 4 4"),
            "15m",
            (Firing(f"100% {text}"),),
        ),
        Case(
            name,
            "fires for the one process of many whose disk is full",
            {
                **_published(log_failure="0+6x40"),
                **series(
                    catalog.MESSAGES_PUBLISHED,
                    "0+60000x40",
                    instance="riptide-2:8080",
                    outcome="accepted",
                ),
            },
            "10m",
            (Firing(f"100% {text}"),),
        ),
        Case(
            name,
            "is quiet about publishers that send what is not allowed, or more than is",
            _published(accepted="0+1x40", **other),
            "20m",
        ),
        Case(
            name,
            "is quiet about one failure among a thousand messages",
            _published(accepted="0+1000x40", log_failure="0+1x40"),
            "20m",
        ),
        Case(name, "is quiet where nothing is published", _published(), "20m"),
        Case(
            name,
            "is silent while the process does not reach its log, of which another alert speaks",
            {
                **_published(accepted="0+60x10 600x30", uncertain="0x10 60+60x30"),
                **series(catalog.LOG_CONNECTED, "1x10 0x30"),
            },
            "15m",
            meanwhile=("RiptideLogDisconnected",),
        ),
        Case(
            name,
            "is silent just after that, too, while the rate still has what failed before",
            {
                **_published(accepted="0+60x10 600x9 600+60x20", log_failure="0x10 60+60x8 540x21"),
                **series(catalog.LOG_CONNECTED, "1x10 0x9 1x20"),
            },
            "22m",
        ),
    )


def _damaged_log() -> tuple[Case, ...]:
    damaged, lost = "RiptideLogDamaged", "RiptideLogLostMessages"
    messages, frames = catalog.LOG_DAMAGED_MESSAGES, catalog.LOG_LOST_FRAMES
    long_ago, now = (named("process_start_time_seconds", f"{at}x60") for at in (-86400, 0))
    return (
        Case(
            damaged,
            "fires while consumers meet damaged messages",
            {**series(messages, "0+4x60"), **long_ago},
            "10m",
            (Firing(f"{HERE} has read damaged messages, 20 times."),),
        ),
        Case(
            damaged,
            "fires when a consumer met damaged messages before the first scrape",
            {**series(messages, "4x60"), **now},
            "1m",
            (Firing(f"{HERE} has read damaged messages, 4 times."),),
        ),
        Case(
            damaged,
            "is quiet when nobody has met damaged messages for half an hour",
            {**series(messages, "0x10 4x50"), **long_ago},
            "45m",
        ),
        Case(
            damaged,
            "is quiet about messages that consumers were too slow for",
            {
                **series(messages, "0x60"),
                **series(catalog.MESSAGES_DROPPED, "0+9x60", protocol="sse", reason="conflated"),
                **now,
            },
            "30m",
        ),
        Case(
            lost,
            "fires in the process that found damage in the write-ahead log when it started",
            {**series(frames, "12x60"), **now},
            "14m",
            (Firing(f"{HERE} found 12 pages behind damage when it started."),),
        ),
        Case(
            lost,
            "is quiet when that process has served for a quarter of an hour",
            {**series(frames, "12x60"), **now},
            "16m",
        ),
        Case(
            lost, "is quiet after a start that found none", {**series(frames, "0x60"), **now}, "5m"
        ),
    )


def _cluster() -> tuple[Case, ...]:
    lag, conflicts, reset = "RiptideFeedLag", "RiptideWriteConflicts", "RiptideLogReset"
    offset, uncertain = "RiptideClockOffset", "RiptideClockUncertain"
    other = {"instance": "riptide-2:8080"}

    def feed(lag_s: str, topics: int = 10, connected: str = "1x40") -> Series:
        return {
            **series(catalog.LOG_FEED_LAG, lag_s),
            **series(catalog.LOG_FOLLOWED_TOPICS, f"{topics}x40"),
            **series(catalog.LOG_CONNECTED, connected),
        }

    def records(stored: str, conflict: str, **labels: str) -> Series:
        return {
            **series(catalog.LOG_RECORDS, stored, outcome="stored", **labels),
            **series(catalog.LOG_RECORDS, conflict, outcome="conflict", **labels),
        }

    def clock(offset_s: str, uncertainty_s: str) -> Series:
        return {
            **series(catalog.LOG_CLOCK_OFFSET, offset_s),
            **series(catalog.LOG_CLOCK_UNCERTAINTY, uncertainty_s),
        }

    return (
        Case(
            lag,
            "fires when the looks at what the stream has have failed for more than a minute",
            feed("1x10 30+60x20"),
            "12m",
            (Firing(f"{HERE} has not seen for 1m 30s what its log has."),),
        ),
        Case(
            lag,
            "is quiet about an election of a leader",
            feed("1x10 9 1x20"),
            "11m",
        ),
        Case(
            lag,
            "is quiet about an instance that follows 20,000 topics",
            feed("21x40", 20_000),
            "30m",
        ),
        Case(
            lag,
            "is silent while the instance does not reach its log, of which another alert speaks",
            feed("1x10 30+60x20", connected="1x10 0x20"),
            "15m",
            meanwhile=("RiptideLogDisconnected",),
        ),
        Case(
            conflicts,
            "fires for the one instance that has been refused more often than not",
            {
                **records("0+400x40", "0+800x40"),
                **records("0+1200x40", "0+300x40", **other),
            },
            "15m",
            (
                Firing(
                    f"66.67% of the tries of {HERE} to store a record in the last 5 minutes were "
                    "refused, because another instance was quicker.",
                ),
            ),
        ),
        Case(
            conflicts,
            "is quiet about instances that share a busy topic",
            {
                **records("0+600x40", "0+200x40"),
                **records("0+700x40", "0+200x40", **other),
            },
            "30m",
        ),
        Case(
            conflicts,
            "is quiet about a few, however seldom is written",
            records("0+1x40", "0+3x40"),
            "30m",
        ),
        Case(
            conflicts,
            "is quiet about ten bad minutes",
            records("0+600x40", "0+1200x10 12000x30"),
            "16m",
        ),
        Case(conflicts, "is quiet where nothing is written", records("0x40", "0x40"), "30m"),
        Case(
            offset,
            "fires when a clock has been two seconds behind for ten minutes",
            clock("0x5 -2x40", "0.001x40"),
            "16m",
            (
                Firing(
                    f"The clocks of {HERE} and of the server that leads its stream differ by "
                    "1.999s or more.",
                ),
            ),
        ),
        Case(offset, "is quiet about half a second", clock("0.5x40", "0.001x40"), "30m"),
        Case(
            offset,
            "is quiet about a difference that slow answers may account for",
            clock("2x40", "1.5x40"),
            "30m",
        ),
        Case(
            uncertain,
            "fires when each question to the servers has taken 200 ms for ten minutes",
            clock("0x40", "0.001x5 0.1x40"),
            "16m",
            (
                Firing(
                    f"{HERE} knows the clock of the server that leads its stream only to 100ms: "
                    "each question takes twice as long.",
                ),
            ),
        ),
        Case(
            uncertain,
            "is quiet about servers in another zone",
            clock("0x40", "0.004x40"),
            "30m",
        ),
        Case(
            uncertain,
            "is quiet about five minutes of a network that is slow",
            clock("0x40", "0.001x5 0.1x5 0.001x30"),
            "16m",
        ),
        Case(
            reset,
            "fires once for all instances that found that the stream had gone back",
            {
                **series(catalog.LOG_RESETS, "0x10 1x40"),
                **series(catalog.LOG_RESETS, "0x10 1x40", **other),
                **series(catalog.LOG_RESETS, "0x40", instance="riptide-3:8080"),
            },
            "11m",
            (
                Firing(
                    "2 instances of riptide have found that the stream was restored, created anew, "
                    "or has lost its end.",
                    OF_JOB,
                ),
            ),
        ),
        Case(
            reset,
            "fires on for a quarter of an hour, so that nobody misses it",
            series(catalog.LOG_RESETS, "0x10 1x40"),
            "25m",
            (
                Firing(
                    "1 instances of riptide have found that the stream was restored, created anew, "
                    "or has lost its end.",
                    OF_JOB,
                ),
            ),
        ),
        Case(reset, "is quiet half an hour later", series(catalog.LOG_RESETS, "0x10 1x40"), "41m"),
        Case(
            reset,
            "is quiet about an instance that has started after it",
            series(catalog.LOG_RESETS, "1x10 _ 0x30"),
            "20m",
        ),
    )


def _connections() -> tuple[Case, ...]:
    limit, slow = "RiptideConnectionsNearLimit", "RiptideSlowConsumerDisconnects"
    of_ten = series(catalog.CONNECTION_LIMIT, "10x40")

    def cut_off(reason: str, per_minute: int) -> Series:
        return series(
            catalog.CONNECTIONS_CLOSED, f"0+{per_minute}x40", protocol="sse", reason=reason
        )

    return (
        Case(
            limit,
            "fires when nine of ten possible connections are open, whatever their protocol",
            {
                **of_ten,
                **series(catalog.ACTIVE_CONNECTIONS, "5x40", protocol="sse"),
                **series(catalog.ACTIVE_CONNECTIONS, "4x40", protocol="ndjson"),
            },
            "6m",
            (Firing(f"90% of the connections that {HERE} allows are open."),),
        ),
        Case(
            limit,
            "is quiet at eight of ten",
            {**of_ten, **series(catalog.ACTIVE_CONNECTIONS, "8x40", protocol="sse")},
            "30m",
        ),
        Case(
            slow,
            "fires when six consumers a minute fall off the ring or stall",
            {**cut_off("slow_consumer", 4), **cut_off("client_stalled", 2)},
            "11m",
            (Firing("riptide disconnects 6 slow consumers a minute.", OF_JOB),),
        ),
        Case(slow, "is quiet at four a minute", cut_off("slow_consumer", 4), "30m"),
        Case(
            slow,
            "is quiet about consumers that leave by themselves",
            cut_off("client_closed", 600),
            "30m",
        ),
    )


def _rejections() -> tuple[Case, ...]:
    name = "RiptideConnectionsRejected"

    def streams(opened: int, rejected: int, reason: str = "connection_limit") -> Series:
        """Return streams that were opened and refused, per minute."""
        return {
            **series(catalog.CONNECTIONS_OPENED, f"0+{opened}x40", protocol="sse"),
            **series(
                catalog.CONNECTIONS_REJECTED, f"0+{rejected}x40", protocol="sse", reason=reason
            ),
        }

    return (
        Case(
            name,
            "fires when a quarter of all streams has been refused for ten minutes",
            streams(opened=30, rejected=10),
            "15m",
            (
                Firing(
                    "25% of the streams that riptide was asked for in 5 minutes were refused.",
                    OF_JOB,
                ),
            ),
        ),
        Case(
            name,
            "fires when no stream can be opened at all",
            streams(opened=0, rejected=10, reason="log_failure"),
            "15m",
            (
                Firing(
                    "100% of the streams that riptide was asked for in 5 minutes were refused.",
                    OF_JOB,
                ),
            ),
        ),
        Case(name, "is quiet before ten minutes are over", streams(30, 10), "10m"),
        Case(name, "is quiet at one refusal in ten", streams(90, 10), "30m"),
        Case(
            name,
            "is quiet about a few refusals where there is hardly anybody",
            streams(1, 3),
            "30m",
        ),
        Case(
            name, "is quiet about what a draining server refuses", streams(0, 60, "draining"), "30m"
        ),
    )


def _tokens() -> tuple[Case, ...]:
    name = "RiptideTokensRefused"

    def checks(accepted: int, expired: int) -> Series:
        """Return the checks of tokens, per minute."""
        return {
            **series(catalog.TOKEN_CHECKS, f"0+{accepted}x40", outcome="accepted"),
            **series(catalog.TOKEN_CHECKS, f"0+{expired}x40", outcome="expired"),
        }

    return (
        Case(
            name,
            "fires when a quarter of all tokens has been refused for ten minutes",
            checks(accepted=30, expired=10),
            "15m",
            (
                Firing(
                    "25% of the tokens that riptide checked in 5 minutes were not accepted.",
                    OF_JOB,
                ),
            ),
        ),
        Case(name, "is quiet before ten minutes are over", checks(30, 10), "10m"),
        Case(name, "is quiet at one refusal in ten", checks(90, 10), "30m"),
        Case(
            name, "is quiet about a few refusals where there is hardly anybody", checks(1, 3), "30m"
        ),
    )


def _keys() -> tuple[Case, ...]:
    name = "RiptideKeysNotRead"
    return (
        Case(
            name,
            "fires when each reading has failed for ten minutes",
            series(catalog.KEY_READINGS, "0x5 1+1x34", outcome="failed"),
            "20m",
            (Firing(f"{HERE} failed 5 times in 5 minutes to read keys."),),
        ),
        Case(
            name,
            "is quiet about one reading that failed and the next that did not",
            series(catalog.KEY_READINGS, "0x5 1x34", outcome="failed"),
            "12m",
        ),
    )


def _certificates() -> tuple[Case, ...]:
    critical, warning = "RiptideCertificateExpiryCritical", "RiptideCertificateExpiryWarning"
    text = f"The certificate that {HERE} serves has"

    def expiring(days: float) -> Series:
        """Return the time of an expiry so many days after the beginning, which is 1970."""
        return series(catalog.CERTIFICATE_EXPIRY, f"{round(days * 86400)}x60")

    return (
        Case(
            critical,
            "fires when less than two days have been left for five minutes",
            expiring(days=1),
            "10m",
            (Firing(f"{text} 23h 50m 0s left."),),
        ),
        Case(
            critical,
            "fires when the certificate has expired",
            series(catalog.CERTIFICATE_EXPIRY, "60x60"),
            "30m",
            (Firing(f"{text} -29m 0s left."),),
        ),
        Case(critical, "is quiet when three days are left", expiring(days=3), "30m"),
        Case(critical, "is quiet without TLS", series(catalog.CERTIFICATE_EXPIRY, "0x60"), "30m"),
        Case(
            warning,
            "fires when less than 14 days have been left for ten minutes",
            expiring(days=10),
            "20m",
            (Firing(f"{text} 9d 23h 40m 0s left."),),
        ),
        Case(
            warning,
            "is quiet once the certificate has been renewed",
            series(catalog.CERTIFICATE_EXPIRY, f"{10 * 86400}x5 {90 * 86400}x55"),
            "20m",
        ),
        Case(warning, "is quiet without TLS", series(catalog.CERTIFICATE_EXPIRY, "0x60"), "30m"),
        Case(
            warning,
            "is silent while the critical one fires",
            expiring(days=1),
            "30m",
            meanwhile=(critical,),
        ),
        Case(
            "RiptideCertificateRefused",
            "fires when a renewed certificate could not be served for five minutes",
            series(catalog.CERTIFICATE_REFUSED, "0x5 1x40"),
            "12m",
            (Firing(f"{HERE} still serves the certificate before the renewed one."),),
        ),
        Case(
            "RiptideCertificateRefused",
            "is quiet about a key that is written two minutes after its certificate",
            series(catalog.CERTIFICATE_REFUSED, "0x5 1 1 0x40"),
            "12m",
        ),
    )


def _reconnections() -> tuple[Case, ...]:
    name = "RiptideReconnectStorm"

    def opened(values: str, again: str) -> Series:
        return {
            **series(catalog.CONNECTIONS_OPENED, values, protocol="sse"),
            **series(catalog.RECONNECTIONS, again, protocol="sse", outcome="resumed"),
            # Who comes back had a connection that has ended.
            **series(catalog.CONNECTIONS_CLOSED, again, protocol="sse", reason="client_vanished"),
        }

    return (
        Case(
            name,
            "fires when most connections, and more than one a second, have been reconnections",
            opened("0+160x40", "0+120x40"),
            "15m",
            (Firing("2 consumers a second reconnect to riptide.", OF_JOB),),
        ),
        Case(
            name,
            "is quiet about a thousand consumers that come back once, after a restart",
            opened("0x10 1000x40", "0x10 1000x40"),
            "15m",
        ),
        Case(
            name,
            "is quiet when new consumers are the most",
            opened("0+1000x40", "0+120x40"),
            "30m",
        ),
        Case(
            name,
            "is quiet about one of two consumers that comes back every two minutes",
            opened("0 0 1 1 2 2 3 3 4 4 5 5 6 6 7 7", "0 0 1 1 2 2 3 3 4 4 5 5 6 6 7 7"),
            "15m",
        ),
    )


def _process() -> tuple[Case, ...]:
    lag, loop = "RiptideEventLoopLag", "RiptideRestartLoop"
    return (
        Case(
            lag,
            "fires when timers have been more than half a second late for five minutes",
            series(catalog.EVENT_LOOP_LAG, "0.75x40"),
            "6m",
            (Firing(f"A timer in {HERE} came 750ms late."),),
        ),
        Case(
            lag,
            "is quiet about one second lost in a whole quarter of an hour",
            series(catalog.EVENT_LOOP_LAG, "0.01x5 1 0.01x30"),
            "6m",
        ),
        Case(
            loop,
            "fires at the third start within a quarter of an hour",
            {**PRESENT, **named("process_start_time_seconds", "0x5 300x5 600x2 720x30")},
            "16m",
            (Firing(f"{HERE} has started 3 times in 15 minutes."),),
        ),
        Case(
            loop,
            "fires while the process is down before its fourth start",
            {
                **series(catalog.BUILD_INFO, "1x12 stale", version="0.1.0"),
                **named("process_start_time_seconds", "0x5 300x2 480x2 600x1 stale"),
                **named("up", "1x12 0x40"),
            },
            "14m",
            (Firing(f"{HERE} has started 3 times in 15 minutes."),),
        ),
        Case(
            loop,
            "is quiet about three starts over an hour",
            {**PRESENT, **named("process_start_time_seconds", "0x5 300x20 1500x20 2700x10")},
            "55m",
        ),
        Case(
            loop,
            "is quiet about the restarts of what is no Riptide",
            {
                **PRESENT,
                **named("process_start_time_seconds", "0x2 60x2 120x2 180x2 240x20", job="node"),
            },
            "12m",
        ),
    )


def _lag() -> tuple[Case, ...]:
    behind, oldest = "RiptideConsumersBehind", "RiptideOldestUndeliveredMessage"

    def consumers(values: str, at_least: str = "minute", **labels: str) -> Series:
        return series(catalog.CONSUMERS_BEHIND, values, at_least=at_least, **labels)

    def age(values: str) -> Series:
        return series(catalog.OLDEST_UNDELIVERED_AGE, values)

    return (
        Case(
            behind,
            "fires when consumers of several processes have been a minute behind for ten minutes",
            {**consumers("20x40"), **consumers("10x40", instance="riptide-2:8080")},
            "11m",
            (
                Firing(
                    "Messages come more than 60 seconds late to 30 of the consumers of riptide.",
                    OF_JOB,
                ),
            ),
        ),
        Case(
            behind,
            "fires on while the last consumer is cut off and resumes, again and again",
            consumers("1x12 0x9 1 0x9 1 0x20"),
            "40m",
            (
                Firing(
                    "Messages come more than 60 seconds late to 1 of the consumers of riptide.",
                    OF_JOB,
                ),
            ),
        ),
        Case(behind, "is quiet once the last has caught up", consumers("30x20 0x40"), "36m"),
        Case(
            behind,
            "is quiet about a consumer that catches up in time",
            consumers("1x4 0x40"),
            "14m",
        ),
        Case(behind, "is quiet about half a minute", consumers("30x40", "half_minute"), "30m"),
        Case(
            oldest,
            "fires when a message has waited a quarter of an hour for a consumer",
            age("0+60x40"),
            "22m",
            (Firing("A message has waited 22m 0s for a consumer of riptide.", OF_JOB),),
        ),
        Case(
            oldest,
            "is quiet about what the policy ends: a lag that falls back after five minutes",
            age("0 60 120 180 240 300 0 60 120 180 240 300 0 60 120 180 240 300 0"),
            "18m",
        ),
        Case(oldest, "is quiet once the message is delivered", age("0+60x20 0x40"), "37m"),
    )


def _telemetry() -> tuple[Case, ...]:
    unaccounted, failing = "RiptideMessagesUnaccounted", "RiptideExportsFailing"
    silence, watchdog = "RiptideExportSilence", "RiptideWatchdog"
    fault = "RiptideFault"
    failures, success = catalog.EXPORT_FAILURES, catalog.EXPORT_LAST_SUCCESS
    enabled, started = catalog.EXPORT_ENABLED, named("process_start_time_seconds", "0x40")
    metrics = PROCESS | {"signal": "metrics"}
    return (
        Case(
            unaccounted,
            "fires when messages are missing from the books",
            series(catalog.MESSAGES_UNACCOUNTED, "3x40"),
            "6m",
            (Firing(f"{HERE} cannot say what became of 3 messages."),),
        ),
        Case(
            unaccounted,
            "fires when there are more messages than there were",
            series(catalog.MESSAGES_UNACCOUNTED, "-2x40"),
            "6m",
            (Firing(f"{HERE} cannot say what became of -2 messages."),),
        ),
        Case(
            unaccounted,
            "is quiet as long as the books are right",
            series(catalog.MESSAGES_UNACCOUNTED, "0x40"),
            "30m",
        ),
        Case(
            fault,
            "fires at once in the process that drains because of a fault",
            {
                **series(catalog.FAULTS, "0x30 1x9", part="fan_out"),
                **series(catalog.DRAINING, "0x30 1x9"),
                **started,
            },
            "31m",
            (Firing(f"{HERE} has met 1 faults in fan_out.", PROCESS | {"part": "fan_out"}),),
        ),
        Case(
            fault,
            "fires in the process after it",
            {**series(catalog.FAULTS, "1x40", part="heartbeat"), **started},
            "14m",
            (Firing(f"{HERE} has met 1 faults in heartbeat.", PROCESS | {"part": "heartbeat"}),),
        ),
        Case(
            fault,
            "is quiet when the process after it has served for a quarter of an hour",
            {**series(catalog.FAULTS, "1x40", part="heartbeat"), **started},
            "16m",
        ),
        Case(
            fault,
            "is quiet about a drain without a fault",
            {
                **series(catalog.FAULTS, "0x40", part="heartbeat"),
                **series(catalog.DRAINING, "1x40"),
                **started,
            },
            "30m",
        ),
        Case(
            failing,
            "fires for the signal whose exports have failed for ten minutes",
            {
                **series(enabled, "1x40", signal="traces"),
                **series(failures, "0+6x40", signal="traces"),
                **series(enabled, "1x40", signal="metrics"),
                **series(failures, "0x40", signal="metrics"),
            },
            "15m",
            (
                Firing(
                    f"{HERE} fails to export traces, 6 times a minute.",
                    PROCESS | {"signal": "traces"},
                ),
            ),
        ),
        Case(
            failing,
            "is quiet about one failure that was followed by success",
            {
                **series(enabled, "1x40", signal="metrics"),
                **series(failures, "0x5 1x40", signal="metrics"),
            },
            "16m",
        ),
        Case(
            failing,
            "is quiet where nothing is to be exported",
            {
                **series(enabled, "0x40", signal="metrics"),
                **series(failures, "0+6x40", signal="metrics"),
            },
            "30m",
        ),
        Case(
            silence,
            "fires when metrics were last exported more than three minutes ago",
            {
                **started,
                **series(enabled, "1x40", signal="metrics"),
                **series(success, "0+60x10 600x30", signal="metrics"),
            },
            "20m",
            (Firing(f"{HERE} last exported metrics 10m 0s ago.", metrics),),
        ),
        Case(
            silence,
            "fires when metrics were never exported, and counts from the start",
            {
                **named("process_start_time_seconds", "60x40"),
                **series(enabled, "1x40", signal="metrics"),
                **series(success, "0x40", signal="metrics"),
            },
            "20m",
            (Firing(f"{HERE} last exported metrics 19m 0s ago.", metrics),),
        ),
        Case(
            silence,
            "is quiet while metrics are exported every minute",
            {
                **started,
                **series(enabled, "1x40", signal="metrics"),
                **series(success, "0+60x40", signal="metrics"),
            },
            "30m",
        ),
        Case(
            silence,
            "is quiet about traces, of which there may be none to export",
            {
                **started,
                **series(enabled, "1x40", signal="traces"),
                **series(success, "0x40", signal="traces"),
            },
            "30m",
        ),
        Case(
            silence,
            "is quiet where nothing is to be exported",
            {
                **started,
                **series(enabled, "0x40", signal="metrics"),
                **series(success, "0x40", signal="metrics"),
            },
            "30m",
        ),
        Case(
            watchdog,
            "fires when there is nothing else to say",
            PRESENT,
            "0m",
            (
                Firing(
                    "This alert always fires. If it no longer arrives, neither do the others.", {}
                ),
            ),
        ),
    )


CASES: Final = (
    *_availability(),
    *_indicators(),
    *_latency_burn(),
    *_success_burn(),
    *_publishes(),
    *_damaged_log(),
    *_log(),
    *_cluster(),
    *_connections(),
    *_lag(),
    *_rejections(),
    *_tokens(),
    *_keys(),
    *_certificates(),
    *_reconnections(),
    *_process(),
    *_telemetry(),
)
