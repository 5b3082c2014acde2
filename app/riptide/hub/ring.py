"""The ring: the newest messages of a topic, and batches of them that consumers share."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple

from riptide.hub.batch import Batch
from riptide.message import NANOSECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from riptide.encoding.formats import Encoding
    from riptide.message import Message

# Payload bytes of one batch: enough to keep a socket busy without blocking the event loop for long.
BATCH_BYTES = 256 * 1024
# Batches kept for other consumers with the same cursor; most consumers share one or two cursors.
CACHED_BATCHES = 8


class RingLimits(NamedTuple):
    """The size of a topic's ring, and so how far behind a live consumer may be.

    The newest message is always held. ``bytes`` counts payloads, encodings and the objects around
    them. A message stays in the ring after ``age_s`` seconds, but a consumer that has not been
    given it by then counts as too slow, unless it is on its way to the head and gains ground.
    """

    messages: int
    bytes: int
    age_s: float = math.inf

    @property
    def age_ns(self) -> float:
        """The age in nanoseconds."""
        return self.age_s * NANOSECONDS

    def too_old(self) -> str:
        """Return what to tell a consumer that is behind by more than the age."""
        return (
            f"the client is more than {self.age_s:g} s behind, and the policy is to let it resume "
            "from the log"
        )


class Ring:
    """An append-only ring: sequence numbers ``tail`` to ``head``, both inclusive.

    An empty ring has ``tail == head + 1``.
    """

    def __init__(self, limits: RingLimits, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self.limits = limits
        self.tail = 1
        self.head = 0
        # The epoch of the newest message.
        self.epoch = ""
        # True once the log's head has been read. Before that, ``head`` reflects only pushes.
        self.loaded = False
        self._clock_ns = clock_ns
        self._messages: list[Message] = []
        # The newest message with a sampled trace, so that a batch ending with an unsampled one can
        # still name an example.
        self._sampled: Message | None = None
        # When each message entered the ring. Its age counts from then and not from its acceptance,
        # because a slow disk is not the consumer's fault.
        self._arrived_ns: list[int] = []
        self._bytes = 0
        self._batches: dict[tuple[int, int, int], Batch] = {}

    def advance_to(self, head: int, epoch: str) -> None:
        """Take over the log's head and its epoch, unless an earlier call or a push has set it.

        Afterwards only pushes move the head: messages that the log has beyond it are about to be
        pushed, which wakes waiting consumers.
        """
        if not self.loaded and not self._messages:
            self.head, self.epoch = head, epoch
            self.tail = head + 1
        self.loaded = True

    def push(self, messages: Sequence[Message]) -> bool:
        """Take the newest messages; return whether any of them were new."""
        if messages[0].sequence <= self.head:
            # The log's head was read after these were committed, so the ring's covers them already.
            messages = [message for message in messages if message.sequence > self.head]
            if not messages:
                return False
        if not self._messages:
            self.tail = messages[0].sequence
        self._messages.extend(messages)
        self._arrived_ns.extend(repeat(self._clock_ns(), len(messages)))
        self._bytes += sum(message.held_bytes() for message in messages)
        newest = messages[-1]
        self.head, self.epoch = newest.sequence, newest.epoch
        # All messages of a push have the same trace.
        if newest.sampled:
            self._sampled = newest
        self._evict()
        self._batches.clear()
        return True

    def clear(self) -> None:
        """Drop all messages. The next push may begin at any sequence number after the head."""
        self.tail = self.head + 1
        self._messages.clear()
        self._arrived_ns.clear()
        self._batches.clear()
        self._bytes = 0

    def reset(self) -> None:
        """Forget the log's head too, because its numbers mean other messages now."""
        self.head, self.loaded = 0, False
        self.clear()

    def batch(self, encoding: Encoding, after: int, until: int) -> Batch:
        """Return messages of the ring after sequence number ``after``, up to ``until``.

        The batch has at least one message, and ends once ``BATCH_BYTES`` of payload are reached.
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
            batch = Batch(encoding, messages, self._example(after, messages[-1].sequence))
            self._bytes += sum(message.held_bytes() for message in new)
            if len(self._batches) >= CACHED_BATCHES:
                del self._batches[next(iter(self._batches))]
            self._batches[key] = batch
        return batch

    def oldest_young(self) -> int:
        """Return the first sequence number not over the age, ``head + 1`` if all messages are."""
        if self.limits.age_s == math.inf:
            return self.tail
        since_ns = self.now_ns() - self.limits.age_ns
        return self.tail + bisect_left(self._arrived_ns, since_ns)

    def now_ns(self) -> int:
        """Return this moment on the clock by which messages age."""
        return self._clock_ns()

    def arrived_ns(self, sequence: int) -> int | None:
        """Return when a message entered the ring, or None if the ring does not have it."""
        if self.tail <= sequence <= self.head:
            return self._arrived_ns[sequence - self.tail]
        return None

    def memory_bytes(self) -> int:
        """Return the bytes that the ring and the cached batches hold."""
        batches = list(self._batches.values())
        return self._bytes + sum(batch.held_bytes() for batch in batches)

    def _example(self, after: int, last: int) -> Message | None:
        sampled = self._sampled
        if sampled is None or not after < sampled.sequence <= last:
            return None
        return sampled

    def _evict(self) -> None:
        dropped = 0
        last = len(self._messages) - 1
        while dropped < last and (
            last + 1 - dropped > self.limits.messages or self._bytes > self.limits.bytes
        ):
            self._bytes -= self._messages[dropped].held_bytes()
            dropped += 1
        if dropped:
            del self._messages[:dropped]
            del self._arrived_ns[:dropped]
            self.tail += dropped
