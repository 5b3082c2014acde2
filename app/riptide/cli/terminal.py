"""Standard error for people, standard output for data, and the signals that end a command."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from riptide.cli.errors import CommandError, Interrupted, OutputClosed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


# A longer line is cut in its middle: what is wrong and what to do are at its ends.
LINE_CHARACTERS = 2000


def say(text: str) -> None:
    """Write one line to standard error. Never raises; an empty text writes nothing."""
    if text and sys.stderr is not None:
        line = " ".join(text.split())
        if len(line) > LINE_CHARACTERS:
            line = f"{line[: LINE_CHARACTERS // 2]} … {line[-LINE_CHARACTERS // 2 :]}"
        with contextlib.suppress(OSError, ValueError):  # closed, or its reader went away
            sys.stderr.write(f"riptide: {line}\n")
            sys.stderr.flush()


def stderr_is_terminal() -> bool:
    """Tell whether a person reads standard error as it is written."""
    return sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()


def write_stdout(data: bytes) -> None:
    """Write to standard output, and flush.

    Raises:
        OutputClosed: the reader of standard output went away.
        CommandError: standard output cannot be written to.

    """
    if sys.stdout is None:
        raise CommandError("cannot write to standard output: it is closed")
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise OutputClosed from None
    except OSError as error:
        abandon_stdout()
        raise CommandError(f"cannot write to standard output: {error.strerror}") from None


def abandon_stdout() -> None:
    """Discard buffered output, which the interpreter would fail to write when it exits."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Within this context SIGINT and SIGTERM raise ``Interrupted`` in the main thread."""
    before = {number: signal.signal(number, _interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted
