"""What ends a command early.

CommandError             one line on standard error, exit code 1
├── TemporaryError       the service cannot be reached or is busy, so a retry may help
├── BadLineError         a line of the input cannot be published
├── OutcomeUnknownError  the connection was lost between a request and its answer
└── BrokenStreamError    the connection was lost in the middle of a stream
Interrupted              SIGINT or SIGTERM, exit code 130
OutputClosed             nobody reads standard output any more, exit code 0
"""

from __future__ import annotations


class CommandError(Exception):
    """The command failed; its text is one line that says what to do."""


class TemporaryError(CommandError):
    """Retrying is safe and may help.

    ``retry_after`` is the wait in seconds that the service asked for, if it did.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BadLineError(CommandError):
    """A line of the input cannot be published."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"line {number} {reason}")
        self.number = number


class OutcomeUnknownError(CommandError):
    """The batch that was sent may have been published, or not."""


class BrokenStreamError(CommandError):
    """A stream was lost after it had begun."""


class Interrupted(BaseException):  # not an error, like KeyboardInterrupt
    """The user or the system wants the command to stop; its text, if any, is one line."""


class OutputClosed(BaseException):  # not an error: `riptide tail logs | head` ends so
    """Nobody reads standard output any more."""
