"""Calls that come too late, or with invalid arguments."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any, cast

import pytest

from riptide_telemetry.batch import MessageBatch
from riptide_telemetry.labels import (
    CloseReason,
    DropReason,
    ErrorType,
    ReconnectionOutcome,
    RejectReason,
    Source,
    StreamProtocol,
)
from riptide_telemetry.recording.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from riptide_telemetry.recording.lifecycle_manager import StreamLifecycleManager
    from riptide_telemetry.testing import InMemoryTelemetry

    Call = Callable[[StreamLifecycleManager], None]

LATE_CALLS: list[Call] = [
    lambda to: to.stream_started("x", "r", None),
    lambda to: to.items_sent("x", MessageBatch(1, 1, [0]), Source.LIVE),
    lambda to: to.items_dropped("x", DropReason.EXPIRED),
    lambda to: to.item_received("x"),
    lambda to: to.write_stalled("x"),
    lambda to: to.write_blocked("x", 1.0),
    lambda to: to.reconnected("x", ReconnectionOutcome.RESET),
    lambda to: to.progress_update("x", "r", 1, 2, 3.0),
    lambda to: to.stream_completed("x", "r"),
    lambda to: to.stream_cancelled("x", "r"),
    lambda to: to.stream_error("x", ErrorType.INTERNAL, recoverable=False),
    lambda to: to.connection_closed("x", CloseReason.COMPLETED),
]


@pytest.mark.parametrize("call", LATE_CALLS)
def test_a_connection_that_is_not_open_is_ignored(
    telemetry: InMemoryTelemetry, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "riptide")
    heard: list[object] = []
    telemetry.lifecycle.subscribe(heard.append)
    call(telemetry.lifecycle)
    counts = [telemetry.metrics.sse.totals(), telemetry.metrics.sse.received]
    assert counts == [(0, 0, 0, 0, 0, 0), 0]
    assert heard == []
    assert not caplog.records


ODD: Any = object()
ODD_CALLS: list[Call] = [
    lambda to: to.connection_established("y", ODD),
    lambda to: to.connection_established(cast("Any", []), StreamProtocol.SSE),
    lambda to: to.stream_started("c", cast("Any", []), ODD),
    lambda to: to.items_sent(cast("Any", []), MessageBatch(1, 1, [0]), Source.LIVE),
    lambda to: to.items_sent("c", MessageBatch(ODD, 1, [0]), Source.LIVE),
    lambda to: to.items_sent("c", MessageBatch(1, 1, [0], ODD), Source.LIVE),
    lambda to: to.items_dropped("c", ODD),
    lambda to: to.write_blocked("c", float("nan")),
    lambda to: to.reconnected("c", ODD),
    lambda to: to.stream_completed("c", "r", ODD),
    lambda to: to.stream_error("c", ODD, recoverable=False),
    lambda to: to.connection_rejected(ODD, RejectReason.DRAINING),
    lambda to: to.messages_published(ODD, 1),
    lambda to: to.log_appended(ODD),
    lambda to: to.log_record(ODD),
    lambda to: to.log_written(ODD),
    lambda to: to.log_heard(ODD, [0]),
    lambda to: to.messages_unaccounted(ODD),
]


@pytest.mark.parametrize("call", ODD_CALLS)
def test_odd_arguments_are_logged_and_never_raise(
    lifecycle: StreamLifecycleManager, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    lifecycle.connection_established("c", StreamProtocol.SSE)
    lifecycle.stream_started("c", "r", None)
    call(lifecycle)
    assert "was not recorded" in caplog.text


def test_a_misspelt_reason_still_closes_the_connection(
    telemetry: InMemoryTelemetry, lifecycle: StreamLifecycleManager
) -> None:
    lifecycle.connection_established("c", StreamProtocol.SSE)
    lifecycle.connection_closed("c", cast("CloseReason", "misspelt"))
    assert telemetry.value("riptide_streaming_active_connections") == 0
    assert telemetry.value("riptide_streaming_connections_closed_total", reason="internal_error")


def test_a_guarded_function_keeps_its_name_and_signature() -> None:
    @guarded
    def record(count: int) -> None:
        """Count."""

    assert (record.__name__, record.__doc__) == ("record", "Count.")
    assert list(inspect.signature(record).parameters) == ["count"]


def test_an_interrupt_is_not_held_up() -> None:
    @guarded
    def record() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record()
