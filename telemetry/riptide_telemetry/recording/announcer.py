"""Writes a log record for each event, and passes the event to every listener."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from riptide_telemetry.labels import CloseReason
from riptide_telemetry.recording.events import Event, EventName

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import SpanContext

    from riptide_telemetry.recording.events import Listener

logger = logging.getLogger("riptide.stream")


class Announcer:
    """Logs events and calls listeners. A listener that raises is logged, and stops no other."""

    __slots__ = ("_listeners",)

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()

    @property
    def has_listeners(self) -> bool:
        """Whether there is a listener."""
        return bool(self._listeners)

    def subscribe(self, listener: Listener) -> None:
        """Call the listener with every event from now on."""
        self._listeners = (*self._listeners, listener)

    def unsubscribe(self, listener: Listener) -> None:
        """Stop calling the listener."""
        self._listeners = tuple(other for other in self._listeners if other != listener)

    def announce(
        self,
        name: EventName,
        connection_id: str,
        details: Mapping[str, object],
        trace: SpanContext | None = None,
    ) -> None:
        """Write the log record and call the listeners.

        The record of an error is a warning. All others are for debugging only: connections come and
        go by the thousand, and metrics count them.
        """
        level = logging.WARNING if _is_error(name, details) else logging.DEBUG
        if logger.isEnabledFor(level):
            text = " ".join(f"{key}={value}" for key, value in details.items())
            extra = {f"stream.{key}": value for key, value in details.items()}
            extra["event"] = name
            extra["connection_id"] = connection_id
            extra["trace"] = trace
            logger.log(level, "%s connection_id=%s %s", name, connection_id, text, extra=extra)
        for listener in self._listeners:
            _call(listener, Event(name, connection_id, details))


def _call(listener: Listener, event: Event) -> None:
    try:
        listener(event)
    except Exception:
        logger.exception("a listener failed on %s", event.name)


def _is_error(name: EventName, details: Mapping[str, object]) -> bool:
    if name is EventName.STREAM_ERROR:
        return True
    reason = details.get("reason")
    return isinstance(reason, CloseReason) and reason.error_type is not None
