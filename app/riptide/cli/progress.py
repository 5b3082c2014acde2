"""A progress bar, which only a terminal gets."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from riptide.cli.terminal import say, stderr_is_terminal

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Never, Self

    from tqdm import tqdm


class Progress:
    """Shows how much was published: bytes of a file (``size`` is known), messages of a pipe."""

    def __init__(self, *, size: int | None, shown: bool) -> None:
        self._counts_bytes = size is not None
        self._bar: tqdm[Never] | None = None
        if shown and stderr_is_terminal():
            self._bar = _open_bar(size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the bar as it stands, on a line of its own."""
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar.close()

    def advance(self, *, input_bytes: int, message_count: int) -> None:
        """Add what has been published."""
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar.update(input_bytes if self._counts_bytes else message_count)

    def note(self, text: str) -> None:
        """Write a line above the bar; without a bar, write nothing."""
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar.clear()
            say(text)


def _open_bar(size: int | None) -> tqdm[Never]:
    from tqdm import tqdm  # noqa: PLC0415  # slow to import, and only terminals need it

    sized = os.get_terminal_size(sys.stderr.fileno()).columns > 0
    tqdm.monitor_interval = 0  # no monitor thread: the bar moves when something is published
    return tqdm(
        total=size,
        unit=" messages" if size is None else "B",
        unit_scale=True,
        unit_divisor=1000 if size is None else 1024,
        # Some terminals report a size of 0 by 0, on which tqdm would draw nothing.
        ncols=None if sized else 80,
        nrows=None if sized else 24,
        dynamic_ncols=sized,
        mininterval=0,
        miniters=1,
    )
