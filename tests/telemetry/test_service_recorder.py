from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.labels import Protocol, PublishOutcome, RejectReason

if TYPE_CHECKING:
    import pytest

    from telemetry.lifecycle_manager import StreamLifecycleManager
    from telemetry.testing import InMemoryTelemetry


def test_what_concerns_no_connection_is_counted_too(
    telemetry: InMemoryTelemetry, lifecycle: StreamLifecycleManager
) -> None:
    lifecycle.connection_rejected(Protocol.SSE, RejectReason.DRAINING)
    lifecycle.messages_published(PublishOutcome.ACCEPTED, 7)
    lifecycle.log_appended(0.002)
    value = telemetry.value
    assert value("riptide_streaming_connections_rejected_total", reason="draining") == 1
    assert value("riptide_streaming_messages_published_total", outcome="accepted") == 7
    assert value("riptide_log_append_duration_seconds") == 1
    assert value("riptide_streaming_total_connections") == 0


def test_unaccounted_messages_are_counted_and_logged(
    telemetry: InMemoryTelemetry, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry.lifecycle.messages_unaccounted(0)
    assert not caplog.records
    telemetry.lifecycle.messages_unaccounted(2)
    assert telemetry.value("riptide_streaming_messages_unaccounted") == 2
    assert "2 messages" in caplog.text
