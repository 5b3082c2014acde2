"""A process that the supervisor keeps alive: its start, its signs of life, and its end."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence

# A child that has lived this long is replaced at once. After one that has not, there is a pause,
# twice as long each time, so that what dies at once is not started in a loop.
STEADY_S = 10.0
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 16.0
# A child hangs when the supervisor has looked this often in a row, once a second, and found no new
# sign of life. Looks are counted, not seconds: a machine that was suspended, or a supervisor that
# was stopped together with its children, has not looked meanwhile.
LOOKS_WITHOUT_SIGN = 10
# Before the first sign, the interpreter starts and imports, which takes a second, or longer from a
# slow disk.
LOOKS_BEFORE_FIRST_SIGN = 60


class Child:
    """One process after another, by the same command, each with a lifeline to the supervisor.

    The lifeline is a socket, and the process's standard input. It closes when the supervisor ends,
    so that the process does not outlive the supervisor; and a process that cannot start writes the
    reason there.
    """

    def __init__(self, name: str, command: Sequence[str], descriptors: Sequence[int] = ()) -> None:
        self.name = name
        self._command = command
        self._descriptors = descriptors
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: socket.socket | None = None
        # When the next process starts, by the supervisor's clock.
        self.due = 0.0
        self._started = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._signs = 0
        self._looks = 0

    @property
    def pid(self) -> int | None:
        """The process, None if none is alive."""
        return None if self._process is None else self._process.pid

    def start(self, now: float) -> None:
        """Start a process.

        Raises:
            OSError: the system starts none.

        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                    self._command,
                    stdin=theirs.fileno(),
                    pass_fds=self._descriptors,
                    # A terminal's Ctrl-C then reaches the supervisor alone, which passes it on;
                    # otherwise a child would get it twice.
                    process_group=0,
                )
            except OSError:
                ours.close()
                raise
        self._lifeline = ours
        self._started = now
        self._signs = self._looks = 0

    def hangs(self, signs: int) -> bool:
        """Look at how many signs of life there are; return True once, when they have ceased."""
        if signs != self._signs:
            self._signs, self._looks = signs, 0
        else:
            self._looks += 1
        return self._looks == (LOOKS_WITHOUT_SIGN if signs else LOOKS_BEFORE_FIRST_SIGN)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, if one is alive."""
        if self._process is not None:
            # ``Popen.send_signal`` would reap a process that has just ended, and the supervisor
            # would miss its exit.
            os.kill(self._process.pid, number)

    def ended(self, code: int, now: float) -> str:
        """Note that the process has ended and was reaped; return the reason that it has given."""
        assert self._process is not None  # noqa: S101  # the caller found it by its pid
        assert self._lifeline is not None  # noqa: S101  # as above
        self._process.returncode = code
        self._process = None
        with self._lifeline:
            self._lifeline.setblocking(False)
            try:
                reason = self._lifeline.recv(65536).decode(errors="replace")
            except OSError:
                reason = ""
        self.postpone(now, steady=now - self._started >= STEADY_S)
        return reason

    def postpone(self, now: float, *, steady: bool = False) -> None:
        """Plan the next start: at once after a process that was steady, else after a pause."""
        if steady:
            self.due, self._pause_s = now, FIRST_PAUSE_S
        else:
            self.due = now + self._pause_s
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
