"""Whose turn it is to accept a connection, among workers that share a listener."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# A worker may have so many connections more than the emptiest one, and a share of that one's, so
# that few connections wait for a certain worker.
AHEAD, AHEAD_SHARE = 8, 0.06
# How long a worker that is ahead leaves waiting connections to the others. If one that should take
# them has accepted none of them meanwhile, it is not counted on until it does.
PATIENCE_S = 0.05
# What a worker shows: 0 if it does not listen, else the number of its connections plus 1, or LAST
# if it should get connections only where no other worker takes them.
LAST = 1 << 62


class Turns:
    """What one worker shows the others of its connections, and when it lets them go first.

    A worker waits for no other one for longer than ``PATIENCE_S``, so one that hangs, or was killed
    a moment ago, holds up nobody.
    """

    def __init__(
        self,
        slot: int,
        connections: memoryview,
        accepted: memoryview,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slot = slot
        self._connections = connections
        self._accepted = accepted
        self._clock = clock
        # The others for which this worker waits, by slot: how many connections they had accepted
        # when it began to, and when that was.
        self._waited_for: dict[int, tuple[int, float]] = {}

    def show(self, connections: int, *, last: bool = False) -> None:
        """Let the others know how many connections this worker has."""
        self._connections[self._slot] = LAST if last else connections + 1

    def leave(self) -> None:
        """Let the others know that this worker does not listen any more."""
        self._connections[self._slot] = 0

    def note_accepted(self) -> None:
        """Let the others know that this worker has accepted a connection."""
        self._accepted[self._slot] += 1

    def is_over(self) -> bool:
        """Return whether the connections that wait should be left to others, for now."""
        shown = self._connections.tolist()
        bound = (shown[self._slot] - AHEAD) / (1 + AHEAD_SHARE)
        emptier = [slot for slot, number in enumerate(shown) if 0 < number < bound]
        if not emptier:
            self._waited_for.clear()
            return False
        now = self._clock()
        coming = {slot: self._is_coming(slot, now) for slot in emptier}
        return any(coming.values())

    def nobody_waits(self) -> None:
        """Note that no connection waits: the others have taken what there was."""
        now = self._clock()
        # Who was not counted on still is not.
        self._waited_for = {
            slot: (accepted, since)
            for slot, (accepted, since) in self._waited_for.items()
            if now - since >= PATIENCE_S
        }

    def _is_coming(self, slot: int, now: float) -> bool:
        accepted = self._accepted[slot]
        before, since = self._waited_for.get(slot, (accepted, now))
        if accepted != before:
            since = now
        self._waited_for[slot] = accepted, since
        return now - since < PATIENCE_S
