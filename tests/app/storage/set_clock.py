"""A wall clock that a test sets, beside a monotonic one that a test moves on."""

from __future__ import annotations

from riptide.message import NANOSECONDS
from riptide.storage.clock import ExpiryClock

START_S = 1_700_000_000


class SetClock:
    """Two clocks that go on together, unless the wall clock is set. ``expiry`` reads both."""

    def __init__(self) -> None:
        self.wall_ns = START_S * NANOSECONDS
        self.monotonic_ns = 77 * NANOSECONDS
        self.expiry = ExpiryClock(lambda: self.wall_ns, lambda: self.monotonic_ns)

    def go_on(self, seconds: float) -> None:
        """Let time pass."""
        self.wall_ns += int(seconds * NANOSECONDS)
        self.monotonic_ns += int(seconds * NANOSECONDS)

    def set_by(self, seconds: float) -> None:
        """Set the wall clock ahead, or back if negative, while no time passes."""
        self.wall_ns += int(seconds * NANOSECONDS)

    def now_s(self) -> float:
        """Return by how much the believed time differs from the start, in seconds."""
        return self.expiry.now_ns() / NANOSECONDS - START_S
