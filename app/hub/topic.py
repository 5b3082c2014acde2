"""A topic in memory: the ring of its newest messages, and the consumers that wait at its head."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from telemetry import Moments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.encoding.formats import Encoding, Frame
    from app.hub.subscription import Subscription
    from app.message import Message

# One write of this size keeps a socket busy without holding the loop for long.
BATCH_BYTES = 256 * 1024
# Consumers woken before the loop sees to publishers, scrapes and newcomers again.
WAKE_SLICE = 64
# Batches kept for those who come to the same place; most consumers are at one or two.
CACHED_BATCHES = 8


class RingLimits(NamedTuple):
    """The size of a topic's ring; at least the newest message is always held.

    ``bytes`` are those of payloads, encodings and the objects around them.
    """

    messages: int
    bytes: int


class Batch(NamedTuple):
    """Neighbouring messages, ready to be written; shared by all consumers at the same place.

    ``accepted_ns`` are the moments of acceptance on the monotonic clock, oldest first.
    """

    frames: list[Frame]
    messages: int
    last: int
    accepted_ns: Sequence[int]


def make_batch(encoding: Encoding, messages: Sequence[Message]) -> Batch:
    """Encode neighbouring messages for one write; there is at least one."""
    return Batch(
        encoding.frames(messages),
        len(messages),
        messages[-1].sequence,
        Moments(message.accepted_ns for message in messages),
    )


class Topic:
    """An append-only ring: sequence numbers ``tail`` to ``head``, both inclusive.

    An empty ring has ``tail == head + 1``.
    """

    def __init__(self, name: str, limits: RingLimits) -> None:
        self.name = name
        self.tail = 1
        self.head = 0
        # Whether head is what the log has; until then only pushes have moved it.
        self.loaded = False
        self.subscriptions: set[Subscription] = set()
        self._limits = limits
        self._messages: list[Message] = []
        self._bytes = 0
        self._batches: dict[tuple[int, int, int], Batch] = {}
        # In the order of waiting; a dictionary, so that waiting again adds nothing.
        self._waiting: dict[Subscription, None] = {}
        self._to_wake: deque[Subscription] = deque()

    def advance_to(self, head: int) -> None:
        """Take over the head that the log knows, once.

        From then on, and if a push was faster, only pushes move the head: what the log has beyond
        it is on its way, and those who wait are woken by it.
        """
        if not self.loaded and not self._messages:
            self.head = head
            self.tail = head + 1
        self.loaded = True

    def push(self, messages: Sequence[Message]) -> None:
        """Take the newest messages into the ring and begin to wake those who wait for them."""
        if messages[0].sequence <= self.head:
            # Committed before the topic was loaded: the log's head covers them already.
            messages = [message for message in messages if message.sequence > self.head]
            if not messages:
                return
        if not self._messages:
            self.tail = messages[0].sequence
        self._messages.extend(messages)
        self._bytes += sum(message.held_bytes() for message in messages)
        self.head = messages[-1].sequence
        self._evict()
        self._batches.clear()
        if self._waiting:
            if not self._to_wake:
                asyncio.get_running_loop().call_soon(self._wake_slice)
            self._to_wake.extend(self._waiting)
            self._waiting.clear()

    def wait(self, subscription: Subscription) -> None:
        """Wake the subscription once after the next push."""
        self._waiting[subscription] = None

    def behind(self) -> list[Subscription]:
        """Return the subscriptions that may have something queued; those that wait have not."""
        if len(self._waiting) == len(self.subscriptions):
            return []
        return list(self.subscriptions.difference(self._waiting.copy()))

    def leave(self, subscription: Subscription) -> None:
        """Forget the subscription."""
        self.subscriptions.discard(subscription)
        self._waiting.pop(subscription, None)

    def batch(self, encoding: Encoding, after: int, until: int) -> Batch:
        """Return messages of the ring after sequence number ``after``, up to ``until``.

        At least one; no more once ``BATCH_BYTES`` of payload are reached.
        """
        key = (encoding.slot, after, until)
        batch = self._batches.get(key)
        if batch is None:
            start = after + 1 - self.tail
            messages = self._messages[start : until + 1 - self.tail]
            size = 0
            for position, message in enumerate(messages, 1):
                size += len(message.payload)
                if size >= BATCH_BYTES:
                    del messages[position:]
                    break
            new = [message for message in messages if message.encoded[encoding.slot] is None]
            self._bytes -= sum(message.held_bytes() for message in new)
            batch = make_batch(encoding, messages)
            self._bytes += sum(message.held_bytes() for message in new)
            if len(self._batches) >= CACHED_BATCHES:
                del self._batches[next(iter(self._batches))]
            self._batches[key] = batch
        return batch

    def memory_bytes(self) -> int:
        """Return the bytes that the ring and the cached batches hold."""
        batches = list(self._batches.values())
        return self._bytes + sum(len(frame) for batch in batches for frame in batch.frames)

    def _evict(self) -> None:
        dropped = 0
        last = len(self._messages) - 1
        while dropped < last and (
            last + 1 - dropped > self._limits.messages or self._bytes > self._limits.bytes
        ):
            self._bytes -= self._messages[dropped].held_bytes()
            dropped += 1
        if dropped:
            del self._messages[:dropped]
            self.tail += dropped

    def _wake_slice(self) -> None:
        for _ in range(min(WAKE_SLICE, len(self._to_wake))):
            self._to_wake.popleft().wake()
        if self._to_wake:
            asyncio.get_running_loop().call_soon(self._wake_slice)
