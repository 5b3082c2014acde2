"""A worker's side of the lifeline to its supervisor.

The lifeline is the worker's standard input. A thread watches it, and gives the signs of life.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

STDIN = 0
BEAT_S = 1.0
# The exit code of a worker that has written the reason to its lifeline.
START_FAILED = 3


class Lifeline:
    """Gives a sign of life every second, and ends the process once it has no supervisor.

    Until the worker serves, it has signs of life as long as the process runs at all, because
    checking a large log takes minutes. From then on the event loop has to turn for each.
    """

    def __init__(self, beat: Callable[[], None], at_end: signal.Signals = signal.SIGTERM) -> None:
        """``at_end`` is the signal that this process gets once it has no supervisor any more."""
        self._beat = beat
        self._at_end = at_end
        self._loop: asyncio.AbstractEventLoop | None = None
        threading.Thread(target=self._run, name="riptide-lifeline", daemon=True).start()

    def follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give signs of life only while this loop turns."""
        self._loop = loop

    def explain(self, reason: str) -> None:
        """Tell the supervisor why this worker could not start."""
        with contextlib.suppress(OSError):
            os.write(STDIN, reason.encode())

    def _run(self) -> None:
        self._beat()
        while not select.select([STDIN], [], [], BEAT_S)[0]:
            loop = self._loop
            if loop is None:
                self._beat()
                continue
            # A loop that is closed turns no more, and the process has to end soon.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._beat)
        # Nothing is ever sent to a worker, so this is the end of the supervisor.
        os.kill(os.getpid(), self._at_end)
