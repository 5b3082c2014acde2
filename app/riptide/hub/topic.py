"""A topic in memory: its ring, its subscriptions, and the fan-out between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.hub.fanout import FanOut
from riptide.hub.subscription import Subscription
from riptide.process.faults import Faults
from riptide_telemetry import ServicePart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from riptide.encoding.formats import Encoding
    from riptide.hub.backlog import Backlog
    from riptide.hub.ring import Ring
    from riptide.hub.subscription import Terms
    from riptide.message import Message
    from riptide_telemetry import Lifecycle


class Topic:
    """Puts a ring, its subscriptions and their fan-out together. Only the hub knows a topic."""

    def __init__(
        self, ring: Ring, backlog: Backlog, lifecycle: Lifecycle, faults: Faults | None = None
    ) -> None:
        self.name = backlog.topic
        self.ring = ring
        self.subscriptions: set[Subscription] = set()
        self._backlog = backlog
        self._faults = faults or Faults()
        self._fan_out = FanOut(self.name, ring, lifecycle, self._faults)

    def subscribe(self, encoding: Encoding, terms: Terms) -> Subscription:
        """Begin a subscription."""
        subscription = Subscription(self.ring, self._backlog, self._fan_out, encoding, terms)
        self.subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription."""
        subscription.close()
        self.subscriptions.discard(subscription)

    def push(self, messages: Sequence[Message]) -> None:
        """Take the newest messages into the ring and begin to fan them out (see ``Feed``)."""
        try:
            self._push(messages)
        except Exception as error:  # noqa: BLE001  # consumers miss messages that the log has
            self._faults.report(ServicePart.FAN_OUT, error)

    def lost(self) -> None:
        """End the streams of all consumers, and take the log's numbers anew (see ``Feed``)."""
        self.ring.reset()
        for subscription in self.subscriptions:
            subscription.end_with_the_log()

    def _push(self, messages: Sequence[Message]) -> None:
        if messages[0].sequence > self.ring.head + 1:
            # The log has kept messages that were not pushed.
            self._read_from_log()
        excess = len(messages) - self.ring.limits.messages
        if excess > 0:
            # The ring holds only the newest of these, and its sequence numbers have no gap.
            self.ring.clear()
            messages = messages[excess:]
        if self.ring.push(messages):
            self._fan_out.start()

    def _read_from_log(self) -> None:
        """Have all consumers read from the log what the ring does not get."""
        self.ring.clear()
        for subscription in self.subscriptions:
            subscription.rejoin_from_log()

    def behind(self) -> list[Subscription]:
        """Return the subscriptions that may have something queued. Any thread may call this."""
        return self._fan_out.not_waiting(self.subscriptions)
