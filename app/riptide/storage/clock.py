"""The clock by which messages expire: the wall clock, unless it has just made a step forward.

A deletion cannot be undone, and a wall clock may be wrong: set by hand, by a time server that is
wrong, or by a machine that starts without one. The monotonic clock tells how much time has really
passed. So a step forward is believed only after a pause, in which people can set the clock right.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from riptide.message import NANOSECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("riptide.log")

# What the two clocks may differ by, between two looks, without a doubt: time servers correct a
# clock by half a millisecond a second at most, unless they set it.
STEP_NS = 5 * NANOSECONDS
# A step is believed after as much time as it skipped, and after so much at the latest.
LONGEST_PAUSE_NS = 3600 * NANOSECONDS
# A log whose newest message is older than this was either off for long, or starts with a wrong
# clock.
FAR_NS = 86_400 * NANOSECONDS


class ExpiryClock:
    """Unix time in nanoseconds, which goes on as before while a step forward is in doubt.

    One thread asks for the time. Any thread may ask for the doubt.
    """

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        # By how much the wall clock is ahead of the monotonic one, as far as that is believed.
        self._ahead_ns = wall_ns() - monotonic_ns()
        self._step_ns = 0
        # When the step will be believed, on the monotonic clock; None while there is no doubt.
        self._believed_at_ns: int | None = None
        self.times_set_back = 0
        """How often the clock was found to be set back."""

    def monotonic_ns(self) -> int:
        """Return this moment on the monotonic clock."""
        return self._monotonic_ns()

    def now_ns(self) -> int:
        """Return this moment as Unix time, by which messages may be said to have expired."""
        monotonic_ns = self._monotonic_ns()
        step_ns = self._wall_ns() - monotonic_ns - self._ahead_ns
        if step_ns > STEP_NS:
            self._doubt(step_ns, monotonic_ns)
        else:
            self._take(step_ns)
        return monotonic_ns + self._ahead_ns

    def continue_from(self, newest_ns: int, lasting_ns: float) -> None:
        """Take the time of a log's newest message into account, when the log is opened.

        A clock that is far ahead of it, so that not even this message would be kept for
        ``lasting_ns``, is in doubt.
        """
        step_ns = self.now_ns() - newest_ns
        if step_ns < -STEP_NS:
            logger.warning(
                "the clock is %d s behind the newest message of the log: one of them is wrong; "
                "messages from beyond now expire as if they had been published now",
                -step_ns // NANOSECONDS,
            )
        elif step_ns > max(FAR_NS, lasting_ns):
            self._ahead_ns -= step_ns
            self.now_ns()

    def doubt(self) -> str | None:
        """Return why old messages do not expire at the moment, or None if they do."""
        believed_at_ns = self._believed_at_ns
        if believed_at_ns is None:
            return None
        left_s = max(0, believed_at_ns - self._monotonic_ns()) // NANOSECONDS
        return (
            f"the clock went ahead by {self._step_ns // NANOSECONDS} s at once: no message expires "
            f"because of that for {left_s} s more, unless the clock is set back"
        )

    def _doubt(self, step_ns: int, monotonic_ns: int) -> None:
        if self._believed_at_ns is None or step_ns > self._step_ns + STEP_NS:
            self._step_ns = step_ns
            self._believed_at_ns = monotonic_ns + min(step_ns, LONGEST_PAUSE_NS)
            logger.warning("%s", self.doubt())
        elif monotonic_ns >= self._believed_at_ns:
            self._believed_at_ns = None
            self._ahead_ns += step_ns
            logger.warning(
                "the clock is believed now, though it went ahead by %d s: what is too old by it "
                "is deleted",
                step_ns // NANOSECONDS,
            )

    def _take(self, step_ns: int) -> None:
        """Follow the wall clock, which has gone on, or has been set back."""
        if self._believed_at_ns is not None:
            self._believed_at_ns = None
            logger.info("the clock was set back to where it was: messages expire as before")
        if step_ns < -STEP_NS:
            self.times_set_back += 1
            logger.warning("the clock was set back by %d s", -step_ns // NANOSECONDS)
        self._ahead_ns += step_ns
