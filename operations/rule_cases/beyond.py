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


def _latency(per_step: int, late: int, steps: int) -> Series:
    latency = catalog.DELIVERY_LATENCY
    in_time = per_step - late
    return {
        **series(latency, f"0+{in_time}x{steps}", "_bucket", **LIVE, le="0.25"),
        **series(latency, f"0+{per_step}x{steps}", "_count", **LIVE),
    }


def _drops(per_step: int, dropped: int, steps: int) -> Series:
    sent = per_step - dropped
    return {
        **series(catalog.MESSAGES_SENT, f"0+{sent}x{steps}", protocol="sse"),
        **series(
            catalog.MESSAGES_DROPPED, f"0+{dropped}x{steps}", protocol="sse", reason="slow_consumer"
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
            _latency(per_step=10_000, late=2000, steps=12),
            "10m",
            _burning(f"20% {text}", hour),
            step="5m",
        ),
        Case(
            name,
            "fires on the pair of six hours when a tenth of the messages has been late",
            _latency(per_step=10_000, late=1000, steps=80),
            "6h",
            _burning(f"10% {text}", six_hours),
            step="5m",
        ),
        Case(
            name,
            "fires on the pairs of a day and of three when 4 % of the messages have been late",
            _latency(per_step=10_000, late=400, steps=100),
            "8h",
            _burning(f"4% {text}", day, three_days),
            step="5m",
        ),
        Case(
            name,
            "fires on the pair of three days when 2 % of the messages have been late",
            _latency(per_step=10_000, late=200, steps=100),
            "8h",
            _burning(f"2% {text}", three_days),
            step="5m",
        ),
        Case(
            name,
            "is quiet as soon as the short window is clean again",
            {
                **series(
                    catalog.DELIVERY_LATENCY,
                    "0+10000x240 2408000+8000x9 2490000+10000x12",
                    "_bucket",
                    **LIVE,
                    le="0.25",
                ),
                **series(catalog.DELIVERY_LATENCY, "0+10000x263", "_count", **LIVE),
            },
            "1255m",
            step="5m",
        ),
        Case(
            name,
            "is quiet when half a percent of the messages is late for a working day",
            _latency(per_step=10_000, late=50, steps=100),
            "8h",
            step="5m",
        ),
        Case(
            name,
            "is quiet when all of too few messages are late",
            _latency(per_step=10, late=10, steps=24),
            "2h",
            step="5m",
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
            _drops(per_step=10_000, dropped=200, steps=12),
            "10m",
            _burning(f"2% {text}", ("1h", "1.44 %")),
            step="5m",
        ),
        Case(
            name,
            "fires on the pair of six hours when 1 % of the messages has been dropped",
            _drops(per_step=10_000, dropped=100, steps=80),
            "6h",
            _burning(f"1% {text}", ("6h", "0.6 %")),
            step="5m",
        ),
        Case(
            name,
            "fires on the pairs of a day and of three when 0.4 % of the messages are dropped",
            _drops(per_step=10_000, dropped=40, steps=100),
            "8h",
            _burning(f"0.4% {text}", ("1d", "0.3 %"), ("3d", "0.1 %")),
            step="5m",
        ),
        Case(
            name,
            "fires on the pair of three days when 0.2 % of the messages have been dropped",
            _drops(per_step=10_000, dropped=20, steps=100),
            "8h",
            _burning(f"0.2% {text}", ("3d", "0.1 %")),
            step="5m",
        ),
        Case(
            name,
            "is quiet when one message in two thousand is dropped for a working day",
            _drops(per_step=10_000, dropped=5, steps=100),
            "8h",
            step="5m",
        ),
        Case(
            name,
            "is quiet when all of too few messages are dropped",
            _drops(per_step=10, dropped=10, steps=24),
            "2h",
            step="5m",
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


def _reconnections() -> tuple[Case, ...]:
    name = "RiptideReconnectStorm"

    def opened(values: str, again: str) -> Series:
        return {
            **series(catalog.CONNECTIONS_OPENED, values, protocol="sse"),
            **series(catalog.RECONNECTIONS, again, protocol="sse", outcome="resumed"),
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


def _telemetry() -> tuple[Case, ...]:
    unaccounted, failing = "RiptideMessagesUnaccounted", "RiptideExportsFailing"
    silence, watchdog = "RiptideExportSilence", "RiptideWatchdog"
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
    *_connections(),
    *_reconnections(),
    *_process(),
    *_telemetry(),
)
