"""Remembers the fault that ended a process, so that the next process shows it.

A process that drains after a fault may have ended before anybody read its metrics.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from riptide_telemetry import ServicePart

if TYPE_CHECKING:
    from pathlib import Path

    from riptide.process.faults import Faults
    from riptide_telemetry import Lifecycle

logger = logging.getLogger("riptide.faults")


def remember_faults(faults: Faults, lifecycle: Lifecycle, directory: Path) -> None:
    """Count the fault that ended the process before this one, and keep the next one in a file."""
    file = directory / "riptide.fault"

    def keep() -> None:
        # A full disk or a lost directory is no second fault.
        with contextlib.suppress(OSError):
            file.write_text(str(faults.first))

    with contextlib.suppress(OSError, ValueError):
        part = ServicePart(file.read_text())
        file.unlink()
        lifecycle.part_failed(part)
        logger.error("the process before this one ended because of a fault of Riptide in %s", part)
    faults.at_first(keep)
