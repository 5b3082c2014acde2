"""Cases of the ten alerts that every service has."""

from __future__ import annotations

from typing import Final

from operations.rule_cases.case import INSTANCE, JOB, Case, Firing, Series, series
from riptide_telemetry import catalog

OF_JOB: Final = {"job": JOB}


def _connections(errors: int, closed: int = 100, active: int = 0) -> Series:
    """Return series of errors and closed connections per minute, and of open connections."""
    return {
        **series(catalog.ERRORS, f"0+{errors}x40", protocol="sse", error_type="internal"),
        **series(catalog.CONNECTIONS_CLOSED, f"0+{closed}x40", protocol="sse", reason="completed"),
        **series(catalog.ACTIVE_CONNECTIONS, f"{active}x40", protocol="sse"),
    }


def _memory(values: str) -> Series:
    return series(catalog.MEMORY_USAGE, values)


def _messages(sent: int, dropped: int, published: int = 60, active: int = 1) -> Series:
    """Return series of messages per minute, over two protocols, and of open connections.

    ``sent`` and ``dropped`` are counts of each protocol.
    """
    return {
        **series(catalog.MESSAGES_SENT, f"0+{sent}x40", protocol="sse"),
        **series(catalog.MESSAGES_SENT, f"0+{sent}x40", protocol="ndjson"),
        **series(
            catalog.MESSAGES_DROPPED, f"0+{2 * dropped}x40", protocol="sse", reason="slow_consumer"
        ),
        **series(catalog.MESSAGES_PUBLISHED, f"0+{published}x40", outcome="accepted"),
        **series(catalog.ACTIVE_CONNECTIONS, f"{active}x40", protocol="sse"),
    }


def _durations(up_to_60_s: int, up_to_120_s: int) -> Series:
    """Return connections per minute that close within a minute, and within one to two."""
    both = up_to_60_s + up_to_120_s
    duration = catalog.CONNECTION_DURATION
    return {
        **series(duration, f"0+{up_to_60_s}x40", "_bucket", protocol="sse", le="60.0"),
        **series(duration, f"0+{both}x40", "_bucket", protocol="sse", le="120.0"),
        **series(duration, f"0+{both}x40", "_bucket", protocol="sse", le="+Inf"),
        **series(catalog.CONNECTIONS_CLOSED, f"0+{both}x40", protocol="sse", reason="completed"),
    }


def _errors() -> tuple[Case, ...]:
    critical, warning = "RiptideErrorRateCritical", "RiptideErrorRateWarning"
    text = "of the connections of riptide met an error in 5 minutes."
    return (
        Case(
            critical,
            "fires when an eighth of the connections has failed for five minutes",
            _connections(errors=10, closed=40, active=200),
            "10m",
            (Firing(f"12.5% {text}", OF_JOB),),
        ),
        Case(
            critical,
            "is quiet before five minutes are over",
            _connections(errors=20),
            "5m",
        ),
        Case(critical, "is quiet at one failure in ten", _connections(errors=10), "30m"),
        Case(
            critical,
            "is quiet about many failures that are few of the connections that stay open",
            _connections(errors=10, closed=10, active=1000),
            "30m",
        ),
        Case(
            warning,
            "fires when 7 % of the connections have failed for ten minutes",
            _connections(errors=7),
            "15m",
            (Firing(f"7% {text}", OF_JOB),),
        ),
        Case(warning, "is quiet before ten minutes are over", _connections(errors=7), "10m"),
        Case(warning, "is quiet at one failure in twenty", _connections(errors=5), "30m"),
        Case(
            warning,
            "is silent while the critical one fires",
            _connections(errors=20),
            "30m",
            meanwhile=(critical,),
        ),
    )


def _memory_usage() -> tuple[Case, ...]:
    critical, warning = "RiptideMemoryUsageCritical", "RiptideMemoryUsageWarning"
    where = f"in {INSTANCE} of riptide."
    return (
        Case(
            critical,
            "fires when more than a gigabyte has been held for five minutes",
            _memory("1610612736x40"),
            "6m",
            (Firing(f"Streaming holds 1.5GiB {where}"),),
        ),
        Case(critical, "is quiet at exactly a gigabyte", _memory("1073741824x40"), "30m"),
        Case(
            critical,
            "is quiet about a gigabyte that was held for four minutes",
            _memory("0x5 1610612736x4 0x30"),
            "12m",
        ),
        Case(
            warning,
            "fires when more than 500 MB have been held for ten minutes",
            _memory("786432000x40"),
            "11m",
            (Firing(f"Streaming holds 750MiB {where}"),),
        ),
        Case(warning, "is quiet at exactly 500 MB", _memory("524288000x40"), "30m"),
        Case(
            warning,
            "is silent while the critical one fires",
            _memory("1610612736x40"),
            "30m",
            meanwhile=(critical,),
        ),
    )


def _drops() -> tuple[Case, ...]:
    critical, warning = "RiptideMessageDropRateCritical", "RiptideMessageDropRateWarning"
    text = "of the messages that consumers of riptide were owed in the last 5 minutes were dropped."
    return (
        Case(
            critical,
            "fires when a quarter of all messages has been dropped for five minutes",
            _messages(sent=300, dropped=100),
            "10m",
            (Firing(f"25% {text}", OF_JOB),),
        ),
        Case(
            critical,
            "adds up the protocols before it divides",
            _messages(sent=450, dropped=50),
            "30m",
        ),
        Case(critical, "is quiet at 15 % of all messages", _messages(sent=850, dropped=150), "30m"),
        Case(
            warning,
            "fires when 15 % of all messages have been dropped for ten minutes",
            _messages(sent=850, dropped=150),
            "15m",
            (Firing(f"15% {text}", OF_JOB),),
        ),
        Case(warning, "is quiet at 5 % of all messages", _messages(sent=950, dropped=50), "30m"),
        Case(
            warning,
            "is silent while the critical one fires",
            _messages(sent=300, dropped=100),
            "30m",
            meanwhile=(critical,),
        ),
        Case(
            "RiptideBackpressure",
            "fires when six messages a minute have been dropped for a quarter of an hour",
            _messages(sent=1000, dropped=3),
            "20m",
            (Firing("6 messages a minute are dropped in riptide.", OF_JOB),),
        ),
        Case(
            "RiptideBackpressure",
            "is quiet at four messages a minute",
            _messages(sent=10, dropped=2),
            "30m",
        ),
    )


def _throughput() -> tuple[Case, ...]:
    name = "RiptideThroughputLow"
    return (
        Case(
            name,
            "fires when somebody is connected, something is published and next to nothing is sent",
            _messages(sent=6, dropped=0),
            "20m",
            (
                Firing(
                    "riptide sends 0.20 messages a second, though consumers are connected and "
                    "messages are published.",
                    OF_JOB,
                ),
            ),
        ),
        Case(name, "is quiet at two messages a second", _messages(sent=60, dropped=0), "30m"),
        Case(name, "is quiet with nobody connected", _messages(sent=0, dropped=0, active=0), "30m"),
        Case(
            name,
            "is quiet with nothing published",
            _messages(sent=0, dropped=0, published=0),
            "30m",
        ),
    )


def _long_or_many() -> tuple[Case, ...]:
    return (
        Case(
            "RiptideConnectionDurationP99High",
            "fires when one connection in ten has been open for one to two minutes",
            _durations(up_to_60_s=90, up_to_120_s=10),
            "15m",
            (
                Firing(
                    "1 % of the connections of riptide that closed in the last 5 minutes had been "
                    "open for longer than 1m 54s.",
                    OF_JOB,
                ),
            ),
        ),
        Case(
            "RiptideConnectionDurationP99High",
            "is quiet when all connections are open for less than a minute",
            _durations(up_to_60_s=100, up_to_120_s=0),
            "30m",
        ),
        Case(
            "RiptideActiveConnectionsHigh",
            "fires when more than a hundred connections, over all protocols, have been open",
            {
                **series(catalog.ACTIVE_CONNECTIONS, "60x40", protocol="sse"),
                **series(catalog.ACTIVE_CONNECTIONS, "41x40", protocol="websocket"),
            },
            "16m",
            (Firing("101 connections to riptide are open.", OF_JOB),),
        ),
        Case(
            "RiptideActiveConnectionsHigh",
            "is quiet at exactly a hundred",
            {
                **series(catalog.ACTIVE_CONNECTIONS, "60x40", protocol="sse"),
                **series(catalog.ACTIVE_CONNECTIONS, "40x40", protocol="websocket"),
            },
            "30m",
        ),
    )


CASES: Final = (*_errors(), *_memory_usage(), *_drops(), *_throughput(), *_long_or_many())
