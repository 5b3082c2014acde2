"""The events that listeners get: one for each change in the life of a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from riptide_telemetry.labels import ClosedSet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class EventName(ClosedSet):
    """The calls of ``Lifecycle`` that are events. Those for each message or write are not."""

    CONNECTION_ESTABLISHED = "connection_established"
    STREAM_STARTED = "stream_started"
    PROGRESS_UPDATE = "progress_update"
    ITEMS_DROPPED = "items_dropped"
    RECONNECTED = "reconnected"
    STREAM_COMPLETED = "stream_completed"
    STREAM_CANCELLED = "stream_cancelled"
    STREAM_ERROR = "stream_error"
    CONNECTION_CLOSED = "connection_closed"


class Event(NamedTuple):
    """Something that happened to a connection. The log record has the same ``details``."""

    name: EventName
    connection_id: str
    details: Mapping[str, object]


if TYPE_CHECKING:
    Listener = Callable[[Event], None]
