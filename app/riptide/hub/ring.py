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

# One write of this size keeps a socket busy without holding the loop for long.
BATCH_BYTES = 256 * 1024
# Batches kept for those who come to the same place; most consumers are at one or two.
CACHED_BATCHES = 8


class RingLimits(NamedTuple):
    """The size of a topic's ring, and so how far behind a live consumer may be.

    At least the newest message is always held. ``bytes`` are those of payloads, encodings and
    the objects around them. What has been there for more than ``age_s`` seconds stays, but comes
    too late for consumers that had caught up before.
    """

    messages: int
    bytes: int
    age_s: float = math.inf

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
        # Whether head is what the log has; until then only pushes have moved it.
        self.loaded = False
        self._clock_ns = clock_ns
        self._messages: list[Message] = []
        # The newest whose trace is kept; others would hide it in a batch.
        self._sampled: Message | None = None
        # When each of them came into the ring. Not when it was accepted: a slow disk is not the
        # consumers' fault.
        self._arrived_ns: list[int] = []
        self._bytes = 0
        self._batches: dict[tuple[int, int, int], Batch] = {}

    def advance_to(self, head: int) -> None:
        """Take over the head that the log knows, once.

        From then on, and if a push was faster, only pushes move the head: what the log has beyond
        it is on its way, and those who wait are woken by it.
        """
        if not self.loaded and not self._messages:
            self.head = head
            self.tail = head + 1
        self.loaded = True

    def push(self, messages: Sequence[Message]) -> bool:
        """Take the newest messages; return whether any of them were new."""
        if messages[0].sequence <= self.head:
            # Committed before the topic was loaded: the log's head covers them already.
            messages = [message for message in messages if message.sequence > self.head]
            if not messages:
                return False
        if not self._messages:
            self.tail = messages[0].sequence
        self._messages.extend(messages)
        self._arrived_ns.extend(repeat(self._clock_ns(), len(messages)))
        self._bytes += sum(message.held_bytes() for message in messages)
        newest = messages[-1]
        self.head = newest.sequence
        # Messages that were published together have one trace.
        if newest.sampled:
            self._sampled = newest
        self._evict()
        self._batches.clear()
        return True

    def clear(self) -> None:
        """Let go of the messages: nobody is left to read them.

        The topic itself is garbage that only the collector of cycles finds, and that may take long.
        """
        self.tail = self.head + 1
        self._messages.clear()
        self._arrived_ns.clear()
        self._batches.clear()
        self._bytes = 0

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
            batch = Batch(encoding, messages, self._example(after, messages[-1].sequence))
            self._bytes += sum(message.held_bytes() for message in new)
            if len(self._batches) >= CACHED_BATCHES:
                del self._batches[next(iter(self._batches))]
            self._batches[key] = batch
        return batch

    def oldest_young(self) -> int:
        """Return the first sequence number in the ring, or after it, that is not over the age."""
        if self.limits.age_s == math.inf:
            return self.tail
        since_ns = self._clock_ns() - self.limits.age_s * NANOSECONDS
        return self.tail + bisect_left(self._arrived_ns, since_ns)

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
