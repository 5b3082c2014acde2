"""Every number that the alerts and the dashboards share, each once.

Ratios are fractions of 1, durations are in seconds, sizes in bytes, rates per second unless the
name says otherwise.
"""

from typing import Final

MEGABYTE: Final = 1024 * 1024
GIGABYTE: Final = 1024 * MEGABYTE

ERROR_RATE_WARNING: Final = 0.05
ERROR_RATE_CRITICAL: Final = 0.10
PUBLISH_FAILURE_RATE: Final = 0.01
"""The share of messages that the service fails to keep, of those that it should have kept."""
APPEND_AGE: Final = 5.0
"""Seconds after which an append that is under way makes the process not ready
(`riptide.storage.log_watch`)."""
CHECKPOINT_AGE: Final = 300.0
"""Seconds; a checkpoint is due after 30 (`riptide.storage.checkpoints`), and most backups of a log
take less."""
FEED_LAG: Final = 10.0
"""Seconds by which the feed of an instance may lag; an election of a leader takes 4 to 9."""
FEED_LAG_PER_TOPIC: Final = 0.002
"""Seconds that each followed topic adds, twice what the look at its newest record takes."""
REFUSED_TRIES: Final = 0.5
"""The share of an instance's tries to store a record that are refused, because another one was
quicker, above which its publishers wait for others. Of three that write to one topic as fast as
they can, each has 0.15 to 0.25; one above a half is left behind, because it is further away from
the servers."""
REFUSED_TRIES_PER_SECOND: Final = 0.1
"""Refused tries a second below which their share proves nothing."""
CLOCK_UNCERTAINTY: Final = 0.05
"""Seconds: a fifth of `DELIVERY_LATENCY_TARGET`. Beyond, latencies of messages from other instances
say no more whether the objective is met."""
CLOCK_OFFSET: Final = 1.0
"""Seconds. Clocks that are synchronised are some milliseconds off, and ntpd corrects 0.128 at once:
a second is a clock that nobody sets. Less does no harm that could be seen: retention and tokens
count in seconds."""
RESET_SHOWN: Final = 900.0
"""Seconds for which an alert shows that the stream of the log has gone back."""
MESSAGE_DROP_RATE_WARNING: Final = 0.10
MESSAGE_DROP_RATE_CRITICAL: Final = 0.20
DELIVERY_SUCCESS_RATE: Final = 0.90
MEMORY_USAGE_WARNING: Final = 500 * MEGABYTE
MEMORY_USAGE_CRITICAL: Final = 1 * GIGABYTE
CONNECTION_DURATION_P99: Final = 60.0
ACTIVE_CONNECTIONS: Final = 100
BACKPRESSURE_DROPS_PER_MINUTE: Final = 5
BACKPRESSURE_DROPS_PER_MINUTE_PANEL: Final = 10
THROUGHPUT_LOW: Final = 1.0

DELIVERY_LATENCY_OBJECTIVE: Final = 0.99
"""The share of live messages that leave within `DELIVERY_LATENCY_TARGET`."""
DELIVERY_LATENCY_TARGET: Final = 0.25
"""A bound of the delivery latency histogram, so that the share is counted and not guessed."""
DELIVERY_SUCCESS_OBJECTIVE: Final = 0.999
"""The share of messages offered to consumers that are sent and not dropped."""
BURN_RATE_MESSAGES: Final = 1000
"""A burn rate means nothing if its long window has fewer messages than this."""

CONNECTIONS_NEAR_LIMIT: Final = 0.85
EVENT_LOOP_LAG: Final = 0.5
SLOW_CONSUMER_DISCONNECTS_PER_MINUTE: Final = 5
CONSUMERS_BEHIND: Final = 60.0
"""Seconds by which a consumer is behind too far, if it is for long. One of `LagBound`."""
OLDEST_UNDELIVERED: Final = 900.0
"""Seconds that a message may wait for a consumer. Three times the default limit of the policy
(`RIPTIDE_MAX_LAG_SECONDS`): what is older does not come to an end by the policy."""
RECONNECTS_PER_CONNECTION: Final = 0.5
"""Reconnections ÷ connections opened above which a storm is under way."""
RECONNECTS_STORM_PER_SECOND: Final = 1.0
"""Reconnections per second below which there is no storm, whatever the share."""
EXPORT_SILENCE: Final = 180.0
"""Seconds without a successful export after which an alert fires."""
DAMAGE_SHOWN: Final = 900.0
"""Seconds for which an alert shows damage of the log after it was last met, or after the start that
found it."""
FAULT_SHOWN: Final = 900.0
"""Seconds for which a process shows the fault that ended the one before it."""
REJECTED_CONNECTIONS: Final = 0.10
"""The share of the streams asked for in 5 minutes that are refused, above which an alert fires."""
REJECTED_CONNECTIONS_AT_LEAST: Final = 20
"""The refusals in 5 minutes below which their share proves nothing."""
REFUSED_TOKENS: Final = 0.10
"""The share of the tokens checked in 5 minutes that are refused, above which an alert fires."""
REFUSED_TOKENS_AT_LEAST: Final = 20
"""The refusals in 5 minutes below which their share proves nothing."""
CERTIFICATE_EXPIRY_WARNING: Final = 14 * 86400.0
"""Seconds before a certificate expires; renewal should have happened long before."""
CERTIFICATE_EXPIRY_CRITICAL: Final = 2 * 86400.0
RESTARTS: Final = 3
"""Starts within `RESTART_WINDOW` that make a loop."""
RESTART_WINDOW: Final = 900.0
