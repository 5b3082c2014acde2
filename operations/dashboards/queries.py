"""PromQL over the catalog: a metric's name and labels are never written by hand.

Every selection has the dashboard's ``$job`` and ``$instance``, and ``$protocol`` if the metric has
that label. Ratios divide sums and are never averaged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from riptide_telemetry import catalog
from riptide_telemetry.labels import PUBLISH_FAILURES, PublishOutcome

if TYPE_CHECKING:
    from riptide_telemetry.catalog import MetricDefinition

TARGET: Final = 'job=~"$job", instance=~"$instance"'
PROTOCOL: Final = 'protocol=~"$protocol"'
WINDOW: Final = "$__rate_interval"
RANGE: Final = "$__range"
FAILED_PUBLISHES: Final = f'outcome=~"{"|".join(PUBLISH_FAILURES)}"'
INSTANCE: Final = "job, instance"
"""The labels that tell one instance from another, for ``by``."""


def select(metric: MetricDefinition | str, *matchers: str, suffix: str = "") -> str:
    """Select the series of a metric on the dashboard's targets.

    ``metric`` is a name if it is not Riptide's own; ``suffix`` picks a part of a histogram.
    """
    if isinstance(metric, str):
        return f"{metric}{{{', '.join([TARGET, *matchers])}}}"
    protocol = [PROTOCOL] if any(label.key == "protocol" for label in metric.labels) else []
    labels = ", ".join([TARGET, *protocol, *matchers])
    return f"{metric.prometheus_name}{suffix}{{{labels}}}"


def whole(metric: MetricDefinition) -> str:
    """Select a metric of all protocols, whatever ``$protocol`` says."""
    return select(metric.prometheus_name)


def total(expression: str, by: str = "") -> str:
    """Return the sum of an expression, or a sum for each value of the labels ``by``."""
    return f"sum by ({by}) ({expression})" if by else f"sum({expression})"


def maximum(expression: str, by: str) -> str:
    """Return the largest value for each value of the labels ``by``.

    For what all instances report of one thing that they share, and a sum would count several times.
    """
    return f"max by ({by}) ({expression})"


def rate(
    metric: MetricDefinition | str,
    *matchers: str,
    by: str = "",
    suffix: str = "",
    window: str = WINDOW,
) -> str:
    """Return the growth of a counter per second, summed."""
    return total(f"rate({select(metric, *matchers, suffix=suffix)}[{window}])", by)


def increase(metric: MetricDefinition, *matchers: str, by: str = "", window: str = RANGE) -> str:
    """Return the growth of a counter within a window, summed."""
    return total(f"increase({select(metric, *matchers)}[{window}])", by)


def quantile(
    share: float, metric: MetricDefinition, *matchers: str, by: str = "", window: str = WINDOW
) -> str:
    """Return a quantile of a histogram."""
    labels = f"le, {by}" if by else "le"
    buckets = rate(metric, *matchers, by=labels, suffix="_bucket", window=window)
    return f"histogram_quantile({share:g}, {buckets})"


def ratio(part: str, *parts: str) -> str:
    """Return a part's share of the sum of all parts; 0 if the sum is 0.

    No rate of a counter is so low that it is less than the smallest denominator, 1e-9.
    """
    return f"{part} / clamp_min({' + '.join([part, *parts])}, 1e-9)"


def errors_per_connection(window: str) -> str:
    """Return the errors per connection that was open within the window; at most 1."""
    errors = total(f"increase({select(catalog.ERRORS)}[{window}])")
    closed = total(f"increase({select(catalog.CONNECTIONS_CLOSED)}[{window}])")
    connections = f"{closed} + {total(select(catalog.ACTIVE_CONNECTIONS))}"
    return f"clamp_max({errors} / clamp_min({connections}, 1), 1)"


def publish_failures(window: str) -> str:
    """Return the share of published messages that the service failed to keep; 0 without any."""
    failed = rate(catalog.MESSAGES_PUBLISHED, FAILED_PUBLISHES, window=window)
    kept = rate(catalog.MESSAGES_PUBLISHED, f'outcome="{PublishOutcome.ACCEPTED}"', window=window)
    return ratio(failed, kept)


def success(by: str = "", window: str = WINDOW) -> str:
    """Return the share of messages that were sent and not dropped; 1 if there were none."""
    sent = rate(catalog.MESSAGES_SENT, by=by, window=window)
    dropped = rate(catalog.MESSAGES_DROPPED, by=by, window=window)
    return f"1 - {ratio(dropped, sent)}"
