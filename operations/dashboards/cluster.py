"""Instances that share a log in NATS JetStream: how each reaches, writes and hears it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from operations import thresholds
from operations.dashboards.board import board
from operations.dashboards.panels import THIRD, Column, Limits, Query, graph, table
from operations.dashboards.queries import (
    FAILED_PUBLISHES,
    INSTANCE,
    increase,
    maximum,
    quantile,
    rate,
    ratio,
    total,
    whole,
)
from riptide_telemetry import catalog
from riptide_telemetry.labels import MessageOrigin, RecordOutcome

if TYPE_CHECKING:
    from operations.dashboards.board import Panel

SHARES: Final = (0.5, 0.99)


def generate() -> dict[str, str]:
    """Return the dashboard."""
    return board(
        "cluster",
        "Riptide Cluster",
        "Instances that share a log in NATS JetStream: does each reach it, write to it and hear "
        "from it; do their clocks agree; is their load even?",
        {
            "": [_overview()],
            "Reaching the log": _connection(),
            "Writing to it": _writing(),
            "Hearing from it": _hearing(),
            "Clocks": _clocks(),
            "What each instance does": _load(),
        },
    )


def _overview() -> Panel:
    return table(
        "Instances",
        "State of each instance now, and its totals within the selected range.",
        INSTANCE,
        [
            Column(
                "Connected", total(whole(catalog.LOG_CONNECTED), INSTANCE), "short", Limits(low=1)
            ),
            Column(
                "Feed lag",
                maximum(whole(catalog.LOG_FEED_LAG), INSTANCE),
                "s",
                Limits(critical=thresholds.FEED_LAG),
            ),
            Column("Streams", total(whole(catalog.ACTIVE_STREAMS), INSTANCE), "short"),
            Column("Topics followed", total(whole(catalog.LOG_FOLLOWED_TOPICS), INSTANCE), "short"),
            Column(
                "Records stored", increase(catalog.LOG_RECORDS, _of("stored"), by=INSTANCE), "short"
            ),
            Column(
                "Publishes failed",
                increase(catalog.MESSAGES_PUBLISHED, FAILED_PUBLISHES, by=INSTANCE),
                "short",
                Limits(critical=1),
            ),
            Column("Gaps", increase(catalog.LOG_GAPS, by=INSTANCE), "short"),
            Column("Reconnects", increase(catalog.LOG_RECONNECTS, by=INSTANCE), "short"),
            Column(
                "Resets", increase(catalog.LOG_RESETS, by=INSTANCE), "short", Limits(critical=1)
            ),
            Column(
                "Unaccounted",
                total(whole(catalog.MESSAGES_UNACCOUNTED), INSTANCE),
                "short",
                Limits(critical=1),
            ),
        ],
    )


def _connection() -> list[Panel]:
    return [
        graph(
            "Connected",
            "1 while an instance reaches the servers of NATS.",
            "short",
            Query(whole(catalog.LOG_CONNECTED), "{{instance}}"),
            span=THIRD,
            maximum=1,
        ),
        graph(
            "Reconnects",
            "How often an instance reached a server again after its connection had gone, per "
            "minute. All at once: a server, or the network. One alone: that instance.",
            "short",
            Query(f"60 * {rate(catalog.LOG_RECONNECTS, by=INSTANCE)}", "{{instance}}"),
            span=THIRD,
        ),
        graph(
            "Resets",
            "How often an instance found that the stream had gone back: restored, created anew, or "
            "without its end. Consumers whose messages are gone begin anew.",
            "short",
            Query(f"increase({whole(catalog.LOG_RESETS)}[$__rate_interval])", "{{instance}}"),
            limits=Limits(critical=1),
            span=THIRD,
        ),
    ]


def _writing() -> list[Panel]:
    outcomes = "|".join(each for each in RecordOutcome if each is not RecordOutcome.STORED)
    return [
        graph(
            "Records Stored",
            "Records that the servers said they have stored, per second. A record has what was "
            "published to a topic at about the same time.",
            "wps",
            Query(rate(catalog.LOG_RECORDS, _of("stored"), by=INSTANCE), "{{instance}}"),
            span=THIRD,
            stacked=True,
        ),
        graph(
            "Other Outcomes of Records",
            "Per second: tries that were refused because another instance was quicker (conflict), "
            "or were repeated (retried); records that were stored without an answer (recovered), "
            "given up and not stored (failed), or given up and perhaps stored (uncertain).",
            "wps",
            Query(
                rate(catalog.LOG_RECORDS, f'outcome=~"{outcomes}"', by=f"{INSTANCE}, outcome"),
                "{{instance}} {{outcome}}",
            ),
            span=THIRD,
        ),
        graph(
            "Refused Tries",
            "Share of the tries to store a record that were refused because another instance was "
            "quicker, of each and of all together. All alike: they write to the same topics. One "
            "alone: the others are nearer to the servers.",
            "percentunit",
            Query(ratio(_tries("conflict"), _tries("stored")), "{{instance}}"),
            Query(
                ratio(*(rate(catalog.LOG_RECORDS, _of(each)) for each in ("conflict", "stored"))),
                "all",
            ),
            limits=Limits(warning=thresholds.REFUSED_TRIES),
            span=THIRD,
            maximum=1,
        ),
        graph(
            "Write Duration",
            "Time from sending a record until the servers said that it is stored.",
            "s",
            *_quantiles(catalog.LOG_WRITE_DURATION),
            span=THIRD,
        ),
        graph(
            "Append Duration",
            "Time from accepting a publisher's messages until the answer: the wait for the record "
            "before, conflicts and repeated tries are part of it.",
            "s",
            *_quantiles(catalog.LOG_APPEND_DURATION),
            span=THIRD,
        ),
        graph(
            "Oldest Append",
            "How long the oldest append has waited that is under way. A publisher gets 503 after "
            "RIPTIDE_APPEND_TIMEOUT_SECONDS.",
            "s",
            Query(whole(catalog.OLDEST_APPEND_AGE), "{{instance}}"),
            limits=Limits(warning=thresholds.APPEND_AGE),
            span=THIRD,
        ),
    ]


def _hearing() -> list[Panel]:
    return [
        *(
            graph(
                f"Feed Latency, Accepted {origin.capitalize()}",
                "Time from accepting a message, by "
                + (
                    "this instance, until the stream told it of the message."
                    if origin is MessageOrigin.HERE
                    else "another instance, until the stream told this one of it. It is timed by "
                    "two clocks, and as certain as they are."
                ),
                "s",
                *_quantiles(catalog.LOG_FEED_LATENCY, f'origin="{origin}"'),
                span=THIRD,
            )
            for origin in MessageOrigin
        ),
        graph(
            "Feed Lag",
            "Nothing was stored longer ago than this that the instance does not know of. It looks "
            "each second, and takes a second more for each 1,000 topics that it follows; 0 if it "
            "follows none.",
            "s",
            Query(whole(catalog.LOG_FEED_LAG), "{{instance}}"),
            limits=Limits(warning=thresholds.FEED_LAG),
            span=THIRD,
        ),
        graph(
            "Gaps by What Showed Them",
            "Topics per minute of which an instance had not been told everything: a later record "
            "showed it (number), the connection came back (reconnect), or the regular look "
            "(sweep). Consumers got it from the stream.",
            "short",
            Query(
                f"60 * {rate(catalog.LOG_GAPS, by=f'{INSTANCE}, found_by')}",
                "{{instance}} {{found_by}}",
            ),
            span=THIRD,
            stacked=True,
        ),
        graph(
            "Topics Followed",
            "Topics with consumers, whose messages the stream tells the instance of.",
            "short",
            Query(whole(catalog.LOG_FOLLOWED_TOPICS), "{{instance}}"),
            span=THIRD,
        ),
        graph(
            "Size of the Stream",
            "Size of the stream. All instances report the same, so this is the largest, and not "
            "the sum.",
            "bytes",
            Query(maximum(whole(catalog.LOG_SIZE), "job"), "{{job}}"),
            span=THIRD,
        ),
    ]


def _clocks() -> list[Panel]:
    offset = catalog.LOG_CLOCK_OFFSET
    return [
        graph(
            "Clock Offset",
            "The clock of an instance less that of the server that leads the stream. All alike: "
            "the server's clock is wrong. One alone: the instance's is.",
            "s",
            Query(whole(offset), "{{instance}}"),
            limits=Limits(warning=thresholds.CLOCK_OFFSET),
            signed=True,
        ),
        graph(
            "Uncertainty of the Offset",
            "By how much that may be wrong, and latencies of messages from other instances with "
            "it: half of the quickest round trip of a minute.",
            "s",
            Query(whole(catalog.LOG_CLOCK_UNCERTAINTY), "{{instance}}"),
            limits=Limits(warning=thresholds.CLOCK_UNCERTAINTY),
        ),
    ]


def _load() -> list[Panel]:
    return [
        graph(
            "Messages Published",
            "Messages per second that each instance accepted from its publishers.",
            "mps",
            Query(
                rate(catalog.MESSAGES_PUBLISHED, 'outcome="accepted"', by=INSTANCE), "{{instance}}"
            ),
            span=THIRD,
            stacked=True,
        ),
        graph(
            "Messages Sent",
            "Messages per second that each instance sent to its consumers.",
            "mps",
            Query(
                total(f"rate({whole(catalog.MESSAGES_SENT)}[$__rate_interval])", INSTANCE),
                "{{instance}}",
            ),
            span=THIRD,
            stacked=True,
        ),
        graph(
            "Streams",
            "Streams that are open now. A load balancer that spreads new connections evenly does "
            "not move old ones: after a restart, an instance fills up slowly.",
            "short",
            Query(total(whole(catalog.ACTIVE_STREAMS), INSTANCE), "{{instance}}"),
            span=THIRD,
            stacked=True,
        ),
    ]


def _of(outcome: str) -> str:
    return f'outcome="{outcome}"'


def _tries(outcome: str) -> str:
    return rate(catalog.LOG_RECORDS, _of(outcome), by=INSTANCE)


def _quantiles(metric: catalog.MetricDefinition, *matchers: str) -> list[Query]:
    return [
        Query(quantile(share, metric, *matchers, by=INSTANCE), f"{{{{instance}}}} P{100 * share:g}")
        for share in SHARES
    ]
