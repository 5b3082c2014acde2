"""A step of work that the writer does between commits, so short that no append waits for long."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# The time of one step while nothing waits, and while appends do. The second is not 0, so that the
# work is done however many publishers there are.
STEP_S = 0.01
HURRIED_STEP_S = 0.001


class Step:
    """Tells when a step that begins now has had its time."""

    def __init__(self, hurry: Callable[[], bool]) -> None:
        """Let the step end soon once ``hurry`` returns True."""
        self._hurry = hurry
        self._begun = time.monotonic()

    def is_over(self) -> bool:
        """Return whether the step has had its time."""
        lasted = time.monotonic() - self._begun
        return lasted >= STEP_S or (lasted >= HURRIED_STEP_S and self._hurry())
