"""The ratios of the last 5 minutes, each a quotient of counts that may be those of processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from riptide_telemetry import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from riptide_telemetry.catalog import MetricDefinition
    from riptide_telemetry.state.sliding_window import Totals


class Ratios(NamedTuple):
    """Ratios of what was counted in the window; ``active`` connections are open now.

    Every ratio is always defined.
    """

    counts: Totals
    active: int

    def error_rate(self) -> float:
        """Return the share of connections that met an error; 0 if there were no connections."""
        connections = self._connections()
        return min(1.0, self.counts.errored / connections) if connections else 0.0

    def health_ratio(self) -> float:
        """Return the smaller of two shares: connections without an error, and publishes kept.

        Publishes that were refused for the publisher's fault, or by a limit, count as neither kept
        nor failed.
        """
        return min(1.0 - self.error_rate(), 1.0 - self._publish_failure_rate())

    def delivery_ratio(self) -> float:
        """Return sent ÷ (sent + dropped); 1 if nothing was attempted."""
        attempted = self.counts.sent + self.counts.dropped
        return self.counts.sent / attempted if attempted else 1.0

    def reconnection_rate(self) -> float:
        """Return reconnections ÷ connections opened; 0 if there were none."""
        counts = self.counts
        # At most 1: a WebSocket may resume several times on one connection.
        return min(1.0, counts.reconnections / counts.opened) if counts.opened else 0.0

    def items_per_connection(self) -> float:
        """Return messages sent ÷ connections that were open; 0 if there were none."""
        connections = self._connections()
        return self.counts.sent / connections if connections else 0.0

    def _publish_failure_rate(self) -> float:
        """Return the share of messages that the service failed to keep; 0 if there were none."""
        attempted = self.counts.accepted + self.counts.failed
        return self.counts.failed / attempted if attempted else 0.0

    def _connections(self) -> int:
        """Return the number of connections that were open at any time in the window."""
        return self.counts.closed + self.active


RATIOS: Final[Mapping[MetricDefinition, Callable[[Ratios], float]]] = {
    catalog.ERROR_RATE: Ratios.error_rate,
    catalog.HEALTH_RATIO: Ratios.health_ratio,
    catalog.DELIVERY_RATIO: Ratios.delivery_ratio,
    catalog.RECONNECTION_RATE: Ratios.reconnection_rate,
    catalog.ITEMS_PER_CONNECTION: Ratios.items_per_connection,
}
"""The metrics that are ratios, and how each follows from the counts."""
