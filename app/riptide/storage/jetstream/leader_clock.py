"""How far the clock of this machine is from that of the server which leads the stream.

Instances that know it can compare moments of their clocks: what one has noted, less its own offset,
plus that of the other.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from riptide.message import NANOSECONDS, Acceptance

if TYPE_CHECKING:
    from collections.abc import Callable

# Clocks drift by less than a millisecond in this time.
MEMORY_NS = 60 * NANOSECONDS


class _Answer(NamedTuple):
    """``lead_ns``: the leader's Unix time less the monotonic time here; wrong by ``doubt_ns``."""

    received_ns: int
    lead_ns: int
    doubt_ns: int


class LeaderClock:
    """Estimates the leader's time from its answers, each of which says what time it was there.

    The answer came at some moment between question and receipt. The quickest one of the last minute
    is believed (as in NTP, RFC 5905, section 10). A step of the clock here changes the offset at
    once, because answers are kept by monotonic time.
    """

    def __init__(self, now: Callable[[], Acceptance] = Acceptance.now) -> None:
        self._now = now
        self._leader: str | None = None
        # The quickest first; each is quicker than all that came after it.
        self._answers: deque[_Answer] = deque()

    def note(self, leader: str | None, leader_ns: int, asked_ns: int) -> None:
        """Take an answer just received: Unix time there, and monotonic time of the question."""
        received_ns = self._now().monotonic_ns
        if leader != self._leader:
            self._leader = leader
            self._answers.clear()
        middle_ns, doubt_ns = (asked_ns + received_ns) // 2, (received_ns - asked_ns) // 2
        while self._answers and self._answers[-1].doubt_ns >= doubt_ns:
            self._answers.pop()
        self._answers.append(_Answer(received_ns, leader_ns - middle_ns, doubt_ns))
        while self._answers[0].received_ns < received_ns - MEMORY_NS:
            self._answers.popleft()

    def offset_ns(self) -> int | None:
        """Return the Unix time here less that of the leader; None if that is not known."""
        if not self._answers:
            return None
        now = self._now()
        return now.unix_ns - now.monotonic_ns - self._answers[0].lead_ns

    def uncertainty_ns(self) -> int:
        """Return by how much the offset may be wrong."""
        return self._answers[0].doubt_ns if self._answers else 0

    def now_of(self, offset_ns: int | None) -> Acceptance:
        """Return this moment, in the Unix time of an instance that has this offset.

        In that of this instance if one of both offsets is not known.
        """
        now = self._now()
        if offset_ns is None or not self._answers:
            return now
        return Acceptance(now.monotonic_ns + self._answers[0].lead_ns + offset_ns, now.monotonic_ns)
