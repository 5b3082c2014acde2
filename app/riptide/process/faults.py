"""Faults of the service's own: said, counted, and the end of the process, so that it never limps.

A fault is an exception that no code expected, in a part that the whole service stands on: a
background task, the log's writer, the fan-out. Guards at those places report it here. The first
fault makes the process not ready, and makes it drain and end, so that its supervisor starts another
and consumers resume there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from riptide_telemetry import Lifecycle, ServicePart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

logger = logging.getLogger("riptide.faults")

# The room whose callbacks serve one connection each. What fails there ends that connection.
CONNECTIONS = "riptide.server."


class Faults:
    """What has failed in this process. Any thread may report to it."""

    def __init__(self, lifecycle: Lifecycle | None = None) -> None:
        self._lifecycle = lifecycle or Lifecycle()
        self._listeners: list[Callable[[], object]] = []
        self.first: ServicePart | None = None
        """The part that failed first, None as long as none has."""

    def report(self, part: ServicePart, error: BaseException) -> None:
        """Log and count a fault; at the first one, call the listeners. Never raises."""
        logger.critical(
            "a fault of Riptide in %s (%s): the process drains and ends",
            part,
            type(error).__name__,
            exc_info=error,
        )
        self._lifecycle.part_failed(part)
        if self.first is None:
            self.first = part
            for listener in self._listeners:
                _call(listener)

    def met_elsewhere(self, part: ServicePart, process: str) -> None:
        """Count a fault of another process, which has no metrics; this one goes on."""
        logger.error("a fault of Riptide in %s has ended %s", part, process)
        self._lifecycle.part_failed(part)

    def at_first(self, listener: Callable[[], object]) -> None:
        """Call the listener at the first fault, on the thread that reports it."""
        self._listeners.append(listener)
        if self.first is not None:
            _call(listener)


@contextlib.contextmanager
def caught_on_loop(faults: Faults) -> Iterator[None]:
    """Report what callbacks and tasks of the service raise on the running loop, and nobody awaits.

    What others raise there, or code that serves one connection, is logged only.
    """
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Exception) and _is_of_the_service(error.__traceback__):
            faults.report(ServicePart.CALLBACK, error)
        elif before is None:
            loop.default_exception_handler(context)
        else:
            before(loop, context)

    loop.set_exception_handler(handle)
    try:
        yield
    finally:
        loop.set_exception_handler(before)


def _is_of_the_service(traceback: TracebackType | None) -> bool:
    """Return whether what was called on the loop is code of the service as a whole."""
    while traceback is not None:
        module = f"{traceback.tb_frame.f_globals.get('__name__', '')}."
        if not module.startswith("asyncio."):
            in_library = "site-packages" in traceback.tb_frame.f_code.co_filename
            return not module.startswith(CONNECTIONS) and (
                module.startswith("riptide.") or not in_library
            )
        traceback = traceback.tb_next
    return False


def _call(listener: Callable[[], object]) -> None:
    try:
        listener()
    except Exception:
        logger.exception("a fault could not be acted on")
