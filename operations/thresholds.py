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
RECONNECTS_PER_CONNECTION: Final = 0.5
"""Reconnections ÷ connections opened above which a storm is under way."""
RECONNECTS_STORM_PER_SECOND: Final = 1.0
"""Reconnections per second below which there is no storm, whatever the share."""
EXPORT_SILENCE: Final = 180.0
"""Seconds without a successful export after which an alert fires."""
RESTARTS: Final = 3
"""Starts within `RESTART_WINDOW` that make a loop."""
RESTART_WINDOW: Final = 900.0
