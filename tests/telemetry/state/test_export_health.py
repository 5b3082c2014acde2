from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from riptide_telemetry.labels import Signal
from riptide_telemetry.state.export_health import REPORT_INTERVAL_S, ExportHealth
from riptide_telemetry.testing import ManualClock

if TYPE_CHECKING:
    import pytest


def make(clock: ManualClock | None = None) -> ExportHealth:
    clock = clock or ManualClock()
    return ExportHealth(Signal.TRACES, "http://collector:4317", clock.seconds)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_signal_without_an_endpoint_is_off() -> None:
    health = ExportHealth(Signal.LOGS)
    assert not health.enabled
    assert health.describe() == "off"


def test_it_counts_failures_and_remembers_the_last_success() -> None:
    health = make()
    assert health.describe() == "nothing exported yet"
    health.failed("refused")
    health.queue_size = lambda: 7
    assert (health.failures, health.last_success) == (1, 0.0)
    assert health.describe() == "failing: 1 in a row, 7 waiting"
    before = time.time()
    health.succeeded()
    assert health.failures == 1
    assert before <= health.last_success <= time.time()
    assert health.describe().startswith("ok: last ")


def test_the_age_of_a_success_does_not_follow_a_clock_that_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = ManualClock()
    health = make(clock)
    health.succeeded()
    clock.advance(7)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert health.describe() == "ok: last 7 s ago"


def test_failures_are_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    health = make(clock)
    for _ in range(100):
        health.failed("refused")
        clock.advance(REPORT_INTERVAL_S / 50)
    assert told(caplog) == [
        "traces do not reach http://collector:4317 (refused); 1 exports failed in a row",
        "traces do not reach http://collector:4317 (refused); 51 exports failed in a row",
    ]


def test_one_that_fails_now_and_then_is_told_once_a_minute_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    health = make()
    for _ in range(10):
        health.failed("refused")
        health.succeeded()
    assert len(told(caplog)) == 2


def test_recovery_is_told_with_what_it_had_cost(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    health = make()
    health.failed("refused")
    health.failed("refused")
    health.succeeded()
    health.succeeded()
    assert told(caplog)[1:] == ["traces reach http://collector:4317 again; 2 exports failed"]
