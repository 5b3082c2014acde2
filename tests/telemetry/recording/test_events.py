from __future__ import annotations

from typing import TYPE_CHECKING

from riptide_telemetry.labels import (
    CloseReason,
    DropReason,
    ErrorType,
    ReconnectionOutcome,
    StreamProtocol,
)
from riptide_telemetry.lifecycle import Lifecycle
from riptide_telemetry.recording.events import Event, EventName

if TYPE_CHECKING:
    from riptide_telemetry.testing import InMemoryTelemetry


def test_events_bear_the_names_of_the_lifecycle_s_verbs() -> None:
    assert all(hasattr(Lifecycle, name) for name in EventName)


def test_every_event_is_told_in_order_with_the_arguments_of_its_verb(
    telemetry: InMemoryTelemetry,
) -> None:
    heard: list[Event] = []
    tell = telemetry.lifecycle
    tell.subscribe(heard.append)
    tell.connection_established("c", StreamProtocol.WEBSOCKET)
    tell.stream_started("c", "one", 5)
    tell.reconnected("c", ReconnectionOutcome.RESUMED)
    tell.progress_update("c", "one", 1, 5, 2.0)
    tell.items_dropped("c", DropReason.EXPIRED, 4)
    tell.stream_completed("c", "one", {"messages": 1})
    tell.stream_started("c", "two", None)
    tell.stream_cancelled("c", "two")
    tell.stream_error("c", ErrorType.PROTOCOL, recoverable=True, detail="why")
    telemetry.clock.advance(1.5)
    tell.connection_closed("c", CloseReason.CLIENT_CLOSED)
    assert {event.connection_id for event in heard} == {"c"}
    assert {event.name for event in heard} == set(EventName)
    assert [(event.name.value, event.details) for event in heard] == [
        ("connection_established", {"protocol": "websocket"}),
        ("stream_started", {"request_id": "one", "total_items": 5}),
        ("reconnected", {"outcome": "resumed"}),
        (
            "progress_update",
            {"request_id": "one", "completed": 1, "total": 5, "throughput": 2.0},
        ),
        ("items_dropped", {"reason": "expired", "count": 4}),
        ("stream_completed", {"request_id": "one", "messages": 1}),
        ("stream_started", {"request_id": "two", "total_items": None}),
        ("stream_cancelled", {"request_id": "two"}),
        ("stream_error", {"error": "protocol", "recoverable": True, "detail": "why"}),
        (
            "connection_closed",
            {"protocol": "websocket", "reason": "client_closed", "duration_seconds": 1.5},
        ),
    ]
