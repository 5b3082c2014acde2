"""Every metric of Riptide, exactly once, as data.

Instrument names follow OpenTelemetry's conventions. ``prometheus_name`` is what Prometheus shows
(OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility").
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from riptide_telemetry.labels import (
    ClosedSet,
    CloseReason,
    DropReason,
    ErrorType,
    GapSign,
    LagBound,
    MessageOrigin,
    PublishOutcome,
    ReadingOutcome,
    ReconnectionOutcome,
    RecordOutcome,
    RejectReason,
    ServicePart,
    Signal,
    Source,
    StreamOutcome,
    StreamProtocol,
    TokenOutcome,
)


class Kind(Enum):
    """The kind of an instrument. Prometheus shows up-down counters as gauges."""

    COUNTER = "counter"
    UP_DOWN_COUNTER = "up_down_counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Merge(Enum):
    """How a metric of several processes is merged into that of the service.

    ``TOTAL`` keeps what processes have counted that have ended, so it never falls. All others are
    about the processes that live. ``RATIO`` is computed from the merged counts of the last 5
    minutes, because a mean of ratios would be wrong.
    """

    TOTAL = "sum over all processes, those that have ended included"
    SUM = "sum over the processes that live"
    MAX = "largest of the processes that live"
    MIN = "smallest of the processes that live"
    RATIO = "computed from the merged counts of the last 5 minutes"


class Label(NamedTuple):
    """A label and the closed set of its values; None if the operator's allow-list sets them."""

    key: str
    values: type[ClosedSet] | None


_UNIT_SUFFIXES = {"s": "_seconds", "By": "_bytes"}


@dataclass(frozen=True, slots=True)
class MetricDefinition:
    """A metric.

    ``unit`` is a UCUM code ("s", "By", "{message}"), empty for ratios. ``bounds`` are the upper
    bounds of a histogram's buckets, in that unit. ``merge`` is the rule for several processes: that
    of histograms is always ``TOTAL``, and that of counters too, except for those of the log, which
    every process reports that shares it.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    labels: tuple[Label, ...] = ()
    bounds: tuple[float, ...] = ()
    merge: Merge = Merge.TOTAL

    @property
    def prometheus_name(self) -> str:
        """The name of the metric's family as Prometheus shows it."""
        name = self.name.replace(".", "_") + _UNIT_SUFFIXES.get(self.unit, "")
        return f"{name}_total" if self.kind is Kind.COUNTER else name

    def label_sets(self) -> list[dict[str, str]]:
        """Return every combination of label values: the series that always exist.

        A metric by topic has none: its series depend on the allow-list.
        """
        keys = [label.key for label in self.labels]
        combinations = itertools.product(*(label.values or () for label in self.labels))
        return [dict(zip(keys, map(str, values), strict=True)) for values in combinations]


_PROTOCOL = Label("protocol", StreamProtocol)
_TOPIC = Label("topic", None)
_DURATION_BOUNDS = (
    *(0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0),
    *(30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0),
)
# In a bucket, a percentile is a guess. So no bound of a latency is more than two and a half times
# the one before it: the guess is never further off than that.
# From the fastest fan-out (0.1 ms) to the replay of messages that are a day old.
_LATENCY_BOUNDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0),
    *(3600.0, 7200.0, 18000.0, 43200.0, 86400.0),
)
_WAIT_BOUNDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0),
)
_FIRST_MESSAGE_BOUNDS = (
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    *(20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0),
)

# The contract: names, types and labels of these seven never change.

ACTIVE_CONNECTIONS = MetricDefinition(
    "riptide.streaming.active_connections",
    Kind.UP_DOWN_COUNTER,
    "{connection}",
    "Connections that are open now.",
    (_PROTOCOL,),
    merge=Merge.SUM,
)
TOTAL_CONNECTIONS = MetricDefinition(
    "riptide.streaming.total_connections",
    Kind.UP_DOWN_COUNTER,
    "{connection}",
    "Connections opened since the process started; never falls.",
    (_PROTOCOL,),
    merge=Merge.TOTAL,
)
CONNECTION_DURATION = MetricDefinition(
    "riptide.streaming.connection_duration",
    Kind.HISTOGRAM,
    "s",
    "How long connections were open, recorded when they close.",
    (_PROTOCOL,),
    _DURATION_BOUNDS,
)
MESSAGES_SENT = MetricDefinition(
    "riptide.streaming.messages_sent",
    Kind.COUNTER,
    "{message}",
    "Messages handed to the transport of a consumer whose connection was up.",
    (_PROTOCOL,),
)
MESSAGES_DROPPED = MetricDefinition(
    "riptide.streaming.messages_dropped",
    Kind.COUNTER,
    "{message}",
    "Messages that a consumer was owed and will not get.",
    (_PROTOCOL, Label("reason", DropReason)),
)
ERROR_RATE = MetricDefinition(
    "riptide.streaming.error_rate",
    Kind.GAUGE,
    "",
    "Share of the connections of the last 5 minutes that met an error, 0 to 1.",
    merge=Merge.RATIO,
)
MEMORY_USAGE = MetricDefinition(
    "riptide.streaming.memory_usage",
    Kind.GAUGE,
    "By",
    "Bytes that streaming holds: rings, messages on their way to the log and read from it for "
    "consumers that catch up, write buffers, sessions.",
    merge=Merge.SUM,
)

# Derived gauges, over the same 5 minutes as the error rate.

DELIVERY_RATIO = MetricDefinition(
    "riptide.streaming.delivery_ratio",
    Kind.GAUGE,
    "",
    "Share of the messages sent or dropped in the last 5 minutes that were sent; 1 without any.",
    merge=Merge.RATIO,
)
RECONNECTION_RATE = MetricDefinition(
    "riptide.streaming.reconnection_rate",
    Kind.GAUGE,
    "",
    "Reconnections per connection opened in the last 5 minutes, 0 to 1.",
    merge=Merge.RATIO,
)
HEALTH_RATIO = MetricDefinition(
    "riptide.streaming.health_ratio",
    Kind.GAUGE,
    "",
    "The smaller of 1 - error rate and the share of the last 5 minutes' publishes that were kept.",
    merge=Merge.RATIO,
)
ITEMS_PER_CONNECTION = MetricDefinition(
    "riptide.streaming.items_per_connection",
    Kind.GAUGE,
    "{message}",
    "Messages sent per connection that was open in the last 5 minutes.",
    merge=Merge.RATIO,
)

# Connections and streams.

CONNECTIONS_OPENED = MetricDefinition(
    "riptide.streaming.connections_opened",
    Kind.COUNTER,
    "{connection}",
    "Connections opened; the counter to use rate() on.",
    (_PROTOCOL,),
)
CONNECTIONS_CLOSED = MetricDefinition(
    "riptide.streaming.connections_closed",
    Kind.COUNTER,
    "{connection}",
    "Connections closed, by the reason of their end.",
    (_PROTOCOL, Label("reason", CloseReason)),
)
CONNECTIONS_REJECTED = MetricDefinition(
    "riptide.streaming.connections_rejected",
    Kind.COUNTER,
    "{connection}",
    "Streams refused before they began.",
    (_PROTOCOL, Label("reason", RejectReason)),
)
RECONNECTIONS = MetricDefinition(
    "riptide.streaming.reconnections",
    Kind.COUNTER,
    "{connection}",
    "Streams whose consumer gave a position to resume from, by outcome.",
    (_PROTOCOL, Label("outcome", ReconnectionOutcome)),
)
ACTIVE_STREAMS = MetricDefinition(
    "riptide.streaming.active_streams",
    Kind.UP_DOWN_COUNTER,
    "{stream}",
    "Streams that are open now; a WebSocket connection may carry several.",
    (_PROTOCOL,),
    merge=Merge.SUM,
)
STREAMS_ENDED = MetricDefinition(
    "riptide.streaming.streams_ended",
    Kind.COUNTER,
    "{stream}",
    "Streams ended, by outcome.",
    (_PROTOCOL, Label("outcome", StreamOutcome)),
)
STREAM_DURATION = MetricDefinition(
    "riptide.streaming.stream_duration",
    Kind.HISTOGRAM,
    "s",
    "How long streams were open, recorded when they end.",
    (_PROTOCOL,),
    _DURATION_BOUNDS,
)
ERRORS = MetricDefinition(
    "riptide.streaming.errors",
    Kind.COUNTER,
    "{error}",
    "Errors met by connections.",
    (_PROTOCOL, Label("error_type", ErrorType)),
)

# Messages.

MESSAGES_RECEIVED = MetricDefinition(
    "riptide.streaming.messages_received",
    Kind.COUNTER,
    "{message}",
    "Messages that clients sent on open streams.",
    (_PROTOCOL,),
)
MESSAGES_PUBLISHED = MetricDefinition(
    "riptide.streaming.messages_published",
    Kind.COUNTER,
    "{message}",
    "Messages offered by publishers, by outcome; a body that is refused unread counts as one.",
    (Label("outcome", PublishOutcome),),
)
SENT_BYTES = MetricDefinition(
    "riptide.streaming.sent",
    Kind.COUNTER,
    "By",
    "Bytes of the messages sent, encoded, without the framing of HTTP or WebSocket.",
    (_PROTOCOL,),
)
DELIVERY_LATENCY = MetricDefinition(
    "riptide.streaming.delivery_latency",
    Kind.HISTOGRAM,
    "s",
    "Time from accepting a message until it was handed to the transport of one consumer.",
    (_PROTOCOL, Label("source", Source)),
    _LATENCY_BOUNDS,
)
TIME_TO_FIRST_MESSAGE = MetricDefinition(
    "riptide.streaming.time_to_first_message",
    Kind.HISTOGRAM,
    "s",
    "Time from the opening of a connection to the first message on it.",
    (_PROTOCOL,),
    _FIRST_MESSAGE_BOUNDS,
)
MESSAGES_UNACCOUNTED = MetricDefinition(
    "riptide.streaming.messages_unaccounted",
    Kind.GAUGE,
    "{message}",
    "Messages offered and neither sent, dropped nor queued; anything but 0 is a bug in Riptide.",
    merge=Merge.TOTAL,
)

# By topic prefix, for the prefixes on the allow-list. All other topics count as "other".

TOPIC_ACTIVE_CONNECTIONS = MetricDefinition(
    "riptide.topic.active_connections",
    Kind.UP_DOWN_COUNTER,
    "{connection}",
    "Connections that are open now, by topic prefix; absent without an allow-list.",
    (_TOPIC,),
    merge=Merge.SUM,
)
TOPIC_MESSAGES_PUBLISHED = MetricDefinition(
    "riptide.topic.messages_published",
    Kind.COUNTER,
    "{message}",
    "Messages accepted from publishers, by topic prefix; absent without an allow-list.",
    (_TOPIC,),
)
TOPIC_MESSAGES_SENT = MetricDefinition(
    "riptide.topic.messages_sent",
    Kind.COUNTER,
    "{message}",
    "Messages handed to transports, by topic prefix; absent without an allow-list.",
    (_TOPIC,),
)
TOPIC_MESSAGES_DROPPED = MetricDefinition(
    "riptide.topic.messages_dropped",
    Kind.COUNTER,
    "{message}",
    "Messages that consumers will not get, by topic prefix; absent without an allow-list.",
    (_TOPIC,),
)

# Slow consumers.

WRITE_WAIT = MetricDefinition(
    "riptide.streaming.write_wait",
    Kind.HISTOGRAM,
    "s",
    "How long writes waited for a slow reader; writes that did not wait are not counted.",
    (_PROTOCOL,),
    _WAIT_BOUNDS,
)
BACKPRESSURE_EVENTS = MetricDefinition(
    "riptide.streaming.backpressure_events",
    Kind.COUNTER,
    "{event}",
    "Writes that began to wait for a slow reader.",
    (_PROTOCOL,),
)
CONSUMER_LAG = MetricDefinition(
    "riptide.streaming.consumer_lag",
    Kind.GAUGE,
    "{message}",
    "Messages that the consumer furthest behind has not been given yet.",
    merge=Merge.MAX,
)
QUEUED_MESSAGES = MetricDefinition(
    "riptide.streaming.queued_messages",
    Kind.GAUGE,
    "{message}",
    "Messages that consumers have not been given yet, summed over all of them.",
    merge=Merge.SUM,
)
CONSUMERS_BEHIND = MetricDefinition(
    "riptide.streaming.consumers_behind",
    Kind.GAUGE,
    "{consumer}",
    "Consumers whose next message has waited for at least so long. Left out are finite "
    "replays, and consumers that read a topic for the first time and gain ground.",
    (Label("at_least", LagBound),),
    merge=Merge.SUM,
)
OLDEST_UNDELIVERED_AGE = MetricDefinition(
    "riptide.streaming.oldest_undelivered_age",
    Kind.GAUGE,
    "s",
    "How long the oldest message has waited that one of these consumers has not been given yet: "
    "those that riptide_streaming_consumers_behind counts.",
    merge=Merge.MAX,
)

# The service.

LOG_APPEND_DURATION = MetricDefinition(
    "riptide.log.append_duration",
    Kind.HISTOGRAM,
    "s",
    "Time from accepting a publisher's messages until the log committed them or failed to.",
    (),
    _WAIT_BOUNDS,
)
OLDEST_APPEND_AGE = MetricDefinition(
    "riptide.log.oldest_append_age",
    Kind.GAUGE,
    "s",
    "How long the oldest append or other write to the log that is under way has taken; 0 if none.",
    merge=Merge.MAX,
)
APPEND_STALL = MetricDefinition(
    "riptide.log.append_stall",
    Kind.GAUGE,
    "s",
    "Longest time of the last minute in which appends waited and the log answered none of them.",
    merge=Merge.MAX,
)
LOG_SIZE = MetricDefinition(
    "riptide.log.size", Kind.GAUGE, "By", "Bytes that the log takes.", merge=Merge.MAX
)
LOG_DAMAGED_MESSAGES = MetricDefinition(
    "riptide.log.damaged_messages",
    Kind.COUNTER,
    "{message}",
    "Messages that were to be read from the log, for a consumer or by the check after a start, and "
    "are damaged, each time that they were to be read. No consumer gets them. Begins at 0 when the "
    "log is opened. Workers share a log, and each reports its count: never add them up.",
    merge=Merge.MAX,
)
LOG_LOST_FRAMES = MetricDefinition(
    "riptide.log.lost_frames",
    Kind.COUNTER,
    "{frame}",
    "Pages of the write-ahead log that this start found behind damage. The messages on them are "
    "lost; a log record says which, and a file keeps the pages. Workers share a log, and each "
    "reports its count: never add them up.",
    merge=Merge.MAX,
)
LOG_CONNECTED = MetricDefinition(
    "riptide.log.connected",
    Kind.GAUGE,
    "",
    "1 if the process reaches its log, else 0. A worker's log is in another process, that of an "
    "instance in JetStream in servers of NATS; a service of one process always reaches its own.",
    merge=Merge.MIN,
)
LOG_RECONNECTS = MetricDefinition(
    "riptide.log.reconnects",
    Kind.COUNTER,
    "{connection}",
    "How often the process has reached its log again, after the process of the log or the "
    "connection to NATS had gone.",
)
LOG_GAPS = MetricDefinition(
    "riptide.log.gaps",
    Kind.COUNTER,
    "{gap}",
    "Topics of which the log has messages that the process was not told of, by what showed it. The "
    "consumers that missed them read them from the log.",
    (Label("found_by", GapSign),),
)
LOG_FOLLOWED_TOPICS = MetricDefinition(
    "riptide.log.followed_topics",
    Kind.GAUGE,
    "{topic}",
    "Topics whose new messages the log gives to the process. One that several workers follow "
    "counts once for each.",
    merge=Merge.SUM,
)
LOG_RECORDS = MetricDefinition(
    "riptide.log.records",
    Kind.COUNTER,
    "{record}",
    "Records that the process had the servers of a log in JetStream store, and its tries, by "
    "outcome. A record has the messages of a topic that were published at about the same time.",
    (Label("outcome", RecordOutcome),),
)
LOG_WRITE_DURATION = MetricDefinition(
    "riptide.log.write_duration",
    Kind.HISTOGRAM,
    "s",
    "Time from sending a record to the servers of a log in JetStream until they said that it is "
    "stored; tries without that answer are not counted.",
    (),
    _WAIT_BOUNDS,
)
LOG_FEED_LATENCY = MetricDefinition(
    "riptide.log.feed_latency",
    Kind.HISTOGRAM,
    "s",
    "Time from accepting a message, here or at another instance, until a log in JetStream told "
    "this instance of it, which has consumers of the topic. What was accepted elsewhere is timed "
    "by two clocks, whose difference is taken off as far as riptide_log_clock_uncertainty_seconds "
    "allows; what is less than 0 all the same counts as 0.",
    (Label("origin", MessageOrigin),),
    _LATENCY_BOUNDS,
)
LOG_FEED_LAG = MetricDefinition(
    "riptide.log.feed_lag",
    Kind.GAUGE,
    "s",
    "How old the newest messages of a log in JetStream may be that the process does not know of: "
    "time since it last looked at what the stream has of the topics it follows. It does each "
    "second, and takes a second more for each 1,000 topics; 0 if it follows none.",
    merge=Merge.MAX,
)
LOG_CLOCK_OFFSET = MetricDefinition(
    "riptide.log.clock_offset",
    Kind.GAUGE,
    "s",
    "The clock of this machine less that of the server which leads the stream of a log in "
    "JetStream; 0 for other logs.",
    merge=Merge.MAX,
)
LOG_CLOCK_UNCERTAINTY = MetricDefinition(
    "riptide.log.clock_uncertainty",
    Kind.GAUGE,
    "s",
    "By how much the offset may be wrong: half of the time that the quickest question of the last "
    "minute took.",
    merge=Merge.MAX,
)
LOG_RESETS = MetricDefinition(
    "riptide.log.resets",
    Kind.COUNTER,
    "{reset}",
    "How often the process has found that the stream of a log in JetStream had gone back: restored "
    "from a copy, created anew, or without its end. Each instance finds it for itself.",
)
LOG_WAL_SIZE = MetricDefinition(
    "riptide.log.wal_size",
    Kind.GAUGE,
    "By",
    "Bytes of the log's write-ahead log, which are part of what the log takes.",
    merge=Merge.MAX,
)
LOG_FREE_SIZE = MetricDefinition(
    "riptide.log.free_size",
    Kind.GAUGE,
    "By",
    "Bytes in the log's database that deletions have left free; new messages take them first.",
    merge=Merge.MAX,
)
CHECKPOINT_AGE = MetricDefinition(
    "riptide.log.checkpoint_age",
    Kind.GAUGE,
    "s",
    "Time since the last checkpoint that moved all of the write-ahead log to the database; 0 if "
    "nothing was committed since.",
    merge=Merge.MAX,
)
TOPICS = MetricDefinition(
    "riptide.topics",
    Kind.GAUGE,
    "{topic}",
    "Topics in memory: those with consumers.",
    merge=Merge.SUM,
)
CONNECTION_LIMIT = MetricDefinition(
    "riptide.connection_limit",
    Kind.GAUGE,
    "{connection}",
    "Connections that may be open at once; of a worker, its part of the limit for all.",
    merge=Merge.SUM,
)
DRAINING = MetricDefinition(
    "riptide.draining",
    Kind.GAUGE,
    "",
    "1 while the service is shutting down, else 0.",
    merge=Merge.MIN,
)
EVENT_LOOP_LAG = MetricDefinition(
    "riptide.event_loop_lag",
    Kind.GAUGE,
    "s",
    "Largest delay of a timer on the event loop in the last 15 seconds.",
    merge=Merge.MAX,
)
FAULTS = MetricDefinition(
    "riptide.faults",
    Kind.COUNTER,
    "{fault}",
    "Faults of Riptide's own, by the part that met them: the one that ended the process before "
    "this one, and those of this process, which drains and ends after the first.",
    (Label("part", ServicePart),),
)
LOG_RECORDS_DROPPED = MetricDefinition(
    "riptide.log_records.dropped",
    Kind.COUNTER,
    "{record}",
    "Log records that were not printed, because standard error did not take them.",
)

# Tokens, the keys that verify them, and the certificate of TLS.

TOKEN_CHECKS = MetricDefinition(
    "riptide.token_checks",
    Kind.COUNTER,
    "{check}",
    "Tokens of publishers, consumers and listers that were checked, by outcome.",
    (Label("outcome", TokenOutcome),),
)
KEY_READINGS = MetricDefinition(
    "riptide.key_readings",
    Kind.COUNTER,
    "{reading}",
    "Readings of a source of keys (a file, or the URL of a JWK set), by outcome.",
    (Label("outcome", ReadingOutcome),),
)
KEYS_AGE = MetricDefinition(
    "riptide.keys_age",
    Kind.GAUGE,
    "s",
    "Time since the last successful reading of the source that was read longest ago; 0 without.",
    merge=Merge.MAX,
)
CERTIFICATE_EXPIRY = MetricDefinition(
    "riptide.tls.certificate_expiry_timestamp",
    Kind.GAUGE,
    "s",
    "Unix time at which the first certificate of the chain that is served expires; 0 without TLS.",
    merge=Merge.MIN,
)
CERTIFICATE_REFUSED = MetricDefinition(
    "riptide.tls.certificate_refused",
    Kind.GAUGE,
    "",
    "1 while the renewed certificate cannot be served and the one before it still is, else 0.",
    merge=Merge.MAX,
)

# Exports over OTLP. The series of a signal that is not exported stay 0.

_SIGNAL = Label("signal", Signal)
EXPORT_ENABLED = MetricDefinition(
    "riptide.export.enabled",
    Kind.GAUGE,
    "",
    "1 if the signal is exported over OTLP, else 0.",
    (_SIGNAL,),
    merge=Merge.MAX,
)
EXPORT_FAILURES = MetricDefinition(
    "riptide.export.failures",
    Kind.COUNTER,
    "{export}",
    "OTLP exports that failed. Their spans and log records are lost; metrics go with the next one.",
    (_SIGNAL,),
)
EXPORT_LAST_SUCCESS = MetricDefinition(
    "riptide.export.last_success_timestamp",
    Kind.GAUGE,
    "s",
    "Unix time of the last OTLP export that succeeded; 0 before the first.",
    (_SIGNAL,),
    merge=Merge.MIN,
)
EXPORT_QUEUE_SIZE = MetricDefinition(
    "riptide.export.queue_size",
    Kind.GAUGE,
    "{item}",
    "Spans or log records that wait to be exported; metrics are never queued.",
    (_SIGNAL,),
    merge=Merge.SUM,
)

BUILD_INFO = MetricDefinition(
    "riptide.build_info",
    Kind.GAUGE,
    "",
    "Always 1; the version stands in the label.",
    merge=Merge.MAX,
)

CATALOG: tuple[MetricDefinition, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, MetricDefinition)
)
"""Every metric that is defined above, in this order."""
