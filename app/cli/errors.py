"""What ends a command early.

CommandError          one line on standard error, exit code 1
└── TemporaryError    the same, once trying again has not helped
Interrupted           SIGINT or SIGTERM, exit code 130
OutputClosed          nobody reads standard output any more, exit code 0
"""

from __future__ import annotations


class CommandError(Exception):
    """The command failed; its text is one line that says what to do."""


class TemporaryError(CommandError):
    """It is worth, and safe, to try again; ``retry_after`` is in seconds, if one was asked for."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Interrupted(BaseException):  # like KeyboardInterrupt, it is not an error
    """The user or the system wants the command to stop; its text, if any, is one line."""


class OutputClosed(BaseException):  # as in `riptide tail logs | head`: no error
    """Nobody reads standard output any more."""
