"""What listeners hear: one event a change in the life of a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from riptide_telemetry.labels import ClosedSet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class EventName(ClosedSet):
    """The verbs of the lifecycle that concern one connection; messages sent are not among them."""

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
    """Something that happened to a connection; ``details`` are the arguments of the verb."""

    name: EventName
    connection_id: str
    details: Mapping[str, object]


if TYPE_CHECKING:
    Listener = Callable[[Event], None]
