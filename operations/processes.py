"""A program that runs for as long as something here needs it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_STOP_DEADLINE_S: Final = 20


class Process:
    """A program that writes its log to a file.

    With ``apart``, a Ctrl-C at the terminal does not reach it: whoever started it ends it.
    """

    def __init__(
        self,
        command: Sequence[str],
        directory: Path,
        environment: Mapping[str, str] | None = None,
        *,
        apart: bool = False,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.log_file = directory / "log"
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # programs of ours and of the system
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL if apart else None,
                stdout=log,
                stderr=log,
                start_new_session=apart,
            )

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def send(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    @property
    def running(self) -> bool:
        """Whether the program has not ended."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """What the program has ended with, the negative number if by a signal; None if it runs."""
        return self._process.poll()

    async def wait(self) -> None:
        """Return when the program has ended."""
        await asyncio.to_thread(self._process.wait)

    async def stop(self, number: int = signal.SIGTERM) -> None:
        """End the program with a signal, and kill it if it does not end in time."""
        if not self.running:
            return
        self.send(number)
        try:
            await asyncio.to_thread(self._process.wait, _STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill the program."""
        self._process.kill()
        self._process.wait()
