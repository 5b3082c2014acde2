from __future__ import annotations

from typing import TYPE_CHECKING

from riptide_telemetry.labels import CloseReason, StreamProtocol
from riptide_telemetry.middleware.connection_record import ConnectionRecord

if TYPE_CHECKING:
    import pytest

    from riptide_telemetry.recording.lifecycle_manager import StreamLifecycleManager
    from riptide_telemetry.testing import InMemoryTelemetry

SENT = "riptide_streaming_messages_sent_total"
LATENCY = "riptide_streaming_delivery_latency_seconds"
FIRST = "riptide_streaming_time_to_first_message_seconds"


def test_messages_of_unknown_age_have_no_latency(
    telemetry: InMemoryTelemetry,
    lifecycle: StreamLifecycleManager,
    caplog: pytest.LogCaptureFixture,
) -> None:
    record = ConnectionRecord(lifecycle, StreamProtocol.SSE)
    record.sent(1, 10)
    record.sent(3, 30)
    assert telemetry.value(SENT, protocol="sse") == 4
    assert telemetry.value("riptide.streaming.sent", protocol="sse") == 40
    assert telemetry.value(LATENCY, protocol="sse") == 0
    assert telemetry.value(FIRST, protocol="sse") == 1
    assert not caplog.records


def test_bytes_that_complete_no_message_are_not_the_first_one(
    telemetry: InMemoryTelemetry, lifecycle: StreamLifecycleManager
) -> None:
    record = ConnectionRecord(lifecycle, StreamProtocol.SSE)
    record.sent(0, 12)
    assert telemetry.value(FIRST, protocol="sse") == 0
    record.sent(1, 8)
    assert telemetry.value(FIRST, protocol="sse") == 1
    assert telemetry.value("riptide.streaming.sent", protocol="sse") == 20


def test_a_connection_closes_once(
    telemetry: InMemoryTelemetry, lifecycle: StreamLifecycleManager
) -> None:
    record = ConnectionRecord(lifecycle, StreamProtocol.NDJSON)
    record.close(CloseReason.COMPLETED)
    record.close(CloseReason.INTERNAL_ERROR)
    assert not record.is_open
    closed = "riptide.streaming.connections_closed"
    assert telemetry.value(closed, protocol="ndjson") == 1
    assert telemetry.value(closed, protocol="ndjson", reason="completed") == 1
    assert telemetry.value("riptide.streaming.streams_ended", outcome="completed") == 1


def test_connections_do_not_share_an_identity(
    telemetry: InMemoryTelemetry, lifecycle: StreamLifecycleManager
) -> None:
    records = [ConnectionRecord(lifecycle, StreamProtocol.WEBSOCKET) for _ in range(3)]
    assert telemetry.value("riptide_streaming_active_connections", protocol="websocket") == 3
    records[0].received()
    records[1].blocked(0.5)
    assert telemetry.value("riptide.streaming.messages_received", protocol="websocket") == 1
    assert telemetry.value("riptide.streaming.write_wait", protocol="websocket") == 1


def test_an_error_is_told_once_and_counted_once(
    telemetry: InMemoryTelemetry, lifecycle: StreamLifecycleManager
) -> None:
    names: list[str] = []
    lifecycle.subscribe(lambda event: names.append(event.name))
    ConnectionRecord(lifecycle, StreamProtocol.SSE).close(CloseReason.INTERNAL_ERROR)
    assert names[2:] == ["stream_error", "connection_closed"]
    assert telemetry.value("riptide.streaming.errors", error_type="internal") == 1
    assert telemetry.value("riptide.streaming.streams_ended", outcome="failed") == 1
