"""Signals as events that a loop waits for, which interrupt nothing."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from types import FrameType


class Signals:
    """The signals that have come, read from the pipe to which the interpreter writes them."""

    def __init__(self, pipe: int, selector: selectors.BaseSelector) -> None:
        self._pipe = pipe
        self._selector = selector

    def wait(self, timeout_s: float) -> list[int]:
        """Return the signals that have come, in their order; none if the time is over."""
        if not self._selector.select(max(0.0, timeout_s)):
            return []
        return list(os.read(self._pipe, 4096))


@contextlib.contextmanager
def waited_for(numbers: Collection[int]) -> Iterator[Signals]:
    """Within this context, signals of these numbers can be waited for, and do nothing else.

    A signal that comes before the wait, or to another thread, ends the wait too.
    """
    with contextlib.ExitStack() as stack:
        pipe, interpreter_s_end = os.pipe()
        for end in (pipe, interpreter_s_end):
            stack.callback(os.close, end)
            os.set_blocking(end, False)
        selector = stack.enter_context(selectors.DefaultSelector())
        selector.register(pipe, selectors.EVENT_READ)
        before = signal.set_wakeup_fd(interpreter_s_end, warn_on_full_buffer=False)
        stack.callback(signal.set_wakeup_fd, before)
        for number in numbers:
            # Only signals that have a handler are written to the pipe.
            stack.callback(signal.signal, number, signal.signal(number, _do_nothing))
        yield Signals(pipe, selector)


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    pass
