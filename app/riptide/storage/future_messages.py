"""Messages that were accepted while the clock was ahead: they are from beyond now.

By the clock, such a message would be kept until its time has come and the retention has passed,
and all messages of its topic with it, since a topic loses its messages in their order. But a
message is at least as old as it has been known, which the monotonic clock tells. So its age counts
from when it was found.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from riptide.message import NANOSECONDS
from riptide.storage.clock import STEP_NS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from riptide.storage.clock import ExpiryClock


class _Known(NamedTuple):
    """The sequence number up to which a topic's messages are known, and since when.

    The time is in nanoseconds of the monotonic clock.
    """

    head: int
    since_ns: int


class FutureMessages:
    """For each topic whose oldest message is from beyond now, how long its messages are known."""

    def __init__(self, clock: ExpiryClock, lasting_s: float) -> None:
        self._clock = clock
        self._lasting_ns = lasting_s * NANOSECONDS
        self._known: dict[int, _Known] = {}
        # In the order of time. Entries of topics that are forgotten by now are passed over.
        self._waiting: deque[tuple[int, _Known]] = deque()

    def look(self, topic_id: int, oldest_at_ns: int, head: int) -> None:
        """Look at the oldest message of a topic, a new one: its age counts from now if need be."""
        self._known.pop(topic_id, None)
        if oldest_at_ns > self._clock.now_ns() + STEP_NS:
            known = _Known(head, self._clock.monotonic_ns())
            self._known[topic_id] = known
            self._waiting.append((topic_id, known))

    def knows(self, topic_id: int, sequence: int) -> bool:
        """Return whether the age of this message counts already."""
        known = self._known.get(topic_id)
        return known is not None and sequence <= known.head

    def forget(self, topic_id: int) -> None:
        """Forget a topic that has no messages any more."""
        self._known.pop(topic_id, None)

    def due(self) -> Iterator[int]:
        """Return the topics, each once, whose known messages have expired since the last call."""
        before_ns = self._clock.monotonic_ns() - self._lasting_ns
        while self._waiting and self._waiting[0][1].since_ns < before_ns:
            topic_id, known = self._waiting.popleft()
            if self._known.get(topic_id) is known:
                yield topic_id

    def first_kept(self, topic_id: int) -> int:
        """Return the lowest sequence number that has not been known for too long."""
        known = self._known.get(topic_id)
        if known is None or known.since_ns >= self._clock.monotonic_ns() - self._lasting_ns:
            return 1
        return known.head + 1
