"""The fan-out: writes new messages to the consumers that wait for them, a slice at a time."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

from riptide.process.faults import Faults
from riptide_telemetry import ServicePart

if TYPE_CHECKING:
    from riptide.hub.batch import Batch
    from riptide.hub.ring import Ring
    from riptide.hub.subscription import Subscription
    from riptide_telemetry import Lifecycle

# Consumers served before the event loop runs other tasks: publishes, scrapes, new connections.
SLICE = 64
# Record at the latest after this many writes, so that a long fan-out still shows in the metrics;
# recording earlier would delay delivery.
RECORDED_WRITES = 4096
# Record once this many batches are unrecorded: each keeps its encoded bytes alive.
HELD_BATCHES = 8


class FanOut:
    """The consumers that wait at the head of a topic, and the slices in which they are served.

    At its turn each consumer is given one batch of everything up to the head: the faster messages
    are published, the more of them one write carries. Writes are recorded together when all
    consumers have been served, not one by one.
    """

    def __init__(
        self, topic: str, ring: Ring, lifecycle: Lifecycle, faults: Faults | None = None
    ) -> None:
        self._topic = topic
        self._ring = ring
        self._lifecycle = lifecycle
        self._faults = faults or Faults()
        # An ordered set: the subscriptions in the order in which they began to wait.
        self._waiting: dict[Subscription, None] = {}
        self._turns: deque[Subscription] = deque()
        # Batches whose writes have not been recorded yet.
        self._written: list[Batch] = []
        self._unrecorded = 0

    def wait(self, subscription: Subscription) -> None:
        """Serve or wake the subscription after the next push."""
        self._waiting[subscription] = None

    def leave(self, subscription: Subscription) -> None:
        """Forget the subscription."""
        self._waiting.pop(subscription, None)

    def start(self) -> None:
        """Begin to serve all waiting subscriptions, because messages have been pushed."""
        if self._waiting:
            if not self._turns:
                asyncio.get_running_loop().call_soon(self._serve_slice)
            self._turns.extend(self._waiting)
            self._waiting.clear()

    def wrote(self, batch: Batch, now_ns: int) -> None:
        """Note a live batch that a consumer's own task has written, to be recorded with others.

        The first batch of a connection goes to ``Lifecycle.items_sent`` instead, which also
        records the time to the first message.
        """
        if not self._written and not self._turns:
            asyncio.get_running_loop().call_soon(self._record)
        self._note(batch, now_ns)

    def not_waiting(self, subscriptions: set[Subscription]) -> list[Subscription]:
        """Return the subscriptions that may have queued messages. Any thread may call this."""
        if len(self._waiting) == len(subscriptions):
            return []
        return list(subscriptions.difference(self._waiting.copy()))

    def _serve_slice(self) -> None:
        try:
            self._serve(min(SLICE, len(self._turns)))
        except Exception as error:  # noqa: BLE001  # no consumer may wait for ever
            self._faults.report(ServicePart.FAN_OUT, error)
            self._leave_to_tasks()
        if not self._turns or self._unrecorded >= RECORDED_WRITES:
            self._record()
        if self._turns:
            asyncio.get_running_loop().call_soon(self._serve_slice)

    def _leave_to_tasks(self) -> None:
        """Wake the tasks of all consumers whose turn it is: they read on by themselves."""
        while self._turns:
            self._turns.popleft().wake()

    def _serve(self, count: int) -> None:
        ring, turns, waiting, clock = self._ring, self._turns, self._waiting, time.monotonic_ns
        head, tail = ring.head, ring.tail
        batch: Batch | None = None
        for _ in range(count):
            subscription = turns.popleft()
            try:
                taker, after = subscription.taker, subscription.cursor
                overtaken = after + 1 < tail
                if overtaken:
                    # The consumer waited at the head, and one push brought more than the ring
                    # holds. This does not make the consumer slow: it reads from the log.
                    subscription.rejoin_from_log()
                    continue
                if taker is None or not subscription.parked:
                    subscription.wake()
                    continue
                if after >= head:
                    waiting[subscription] = None
                    continue
                # Most consumers have the cursor and the encoding of the one before them.
                encoding = subscription.encoding
                if batch is None or batch.after != after or batch.encoding is not encoding:
                    batch = ring.batch(encoding, after, head)
                now = clock()
                if not taker.take(batch, now):
                    subscription.wake()
                    continue
                self._note(batch, now)
                subscription.was_given(batch)
                if batch.last < head:
                    turns.append(subscription)
                else:
                    waiting[subscription] = None
            except Exception as error:  # noqa: BLE001  # the other consumers still have their turn
                self._faults.report(ServicePart.FAN_OUT, error)
                # Its own task reads on, or ends the stream with the same error.
                subscription.wake()

    def _note(self, batch: Batch, now_ns: int) -> None:
        if not batch.written_ns:
            if len(self._written) >= HELD_BATCHES:
                self._record()
            self._written.append(batch)
        batch.written_ns.append(now_ns)
        self._unrecorded += 1

    def _record(self) -> None:
        written, self._written, self._unrecorded = self._written, [], 0
        for batch in written:
            try:
                self._lifecycle.items_fanned_out(
                    batch.encoding.protocol, self._topic, batch, batch.written_ns
                )
            except Exception as error:  # noqa: BLE001  # the other batches still have to be recorded
                self._faults.report(ServicePart.FAN_OUT, error)
            batch.written_ns.clear()
