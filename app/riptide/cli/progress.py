"""A progress bar for people, and nothing for anybody else."""

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
    """Shows how much is published: of a file its bytes, of a pipe its messages."""

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

    def advance(self, *, input_bytes: int, messages: int) -> None:
        """Add what has been published."""
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar.update(input_bytes if self._counts_bytes else messages)

    def note(self, text: str) -> None:
        """Say something above the bar; where there is none, nothing."""
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar.clear()
            say(text)


def _open_bar(size: int | None) -> tqdm[Never]:
    from tqdm import tqdm  # noqa: PLC0415  # slow to import, and only terminals need it

    sized = os.get_terminal_size(sys.stderr.fileno()).columns > 0
    tqdm.monitor_interval = 0  # no thread: the bar moves when something is published
    return tqdm(
        total=size,
        unit=" messages" if size is None else "B",
        unit_scale=True,
        unit_divisor=1000 if size is None else 1024,
        # Some terminals do not know their size, and tqdm would draw nothing on one of 0 by 0.
        ncols=None if sized else 80,
        nrows=None if sized else 24,
        dynamic_ncols=sized,
        mininterval=0,
        miniters=1,
    )
