"""Keeps faults of telemetry away from the application."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, ParamSpec

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("riptide.telemetry")

P = ParamSpec("P")


def guarded(record: Callable[P, None]) -> Callable[P, None]:
    """Log what the function raises, so that a fault in recording never ends a stream."""

    @functools.wraps(record)
    def guarded_record(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            record(*args, **kwargs)
        except Exception:  # noqa: BLE001  # no fault in recording may end a stream
            report_failure(record.__name__)

    return guarded_record


def report_failure(verb: str) -> None:
    """Log the exception that is being handled, and the call that it has kept from recording."""
    logger.exception("%s was not recorded", verb)  # noqa: LOG004  # callers are exception handlers
