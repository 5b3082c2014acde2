"""SIGHUP: the terminal is gone, and what ran in it ends in an orderly way."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


def is_ignored() -> bool:
    """Return whether this process was started to outlive its terminal, as by ``nohup``."""
    return signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


@contextlib.contextmanager
def handled_once_by(handle: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Within this context, call the handler at the first SIGHUP, unless SIGHUP is ignored.

    Later ones are ignored, also after this context: a terminal that goes may send two, one by the
    shell and one by the system, and a second signal must not cut the end short.
    """
    if is_ignored():
        yield
        return

    def begin(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        handle(number, frame)

    before = signal.signal(signal.SIGHUP, begin)
    try:
        yield
    finally:
        if not is_ignored():
            signal.signal(signal.SIGHUP, before)
