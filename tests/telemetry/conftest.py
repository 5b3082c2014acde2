"""Fixtures of the telemetry tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from riptide_telemetry.testing import InMemoryTelemetry

if TYPE_CHECKING:
    from riptide_telemetry.recording.lifecycle_manager import StreamLifecycleManager
    from riptide_telemetry.testing import ManualClock


@pytest.fixture
def telemetry() -> InMemoryTelemetry:
    return InMemoryTelemetry()


@pytest.fixture
def lifecycle(telemetry: InMemoryTelemetry) -> StreamLifecycleManager:
    return telemetry.lifecycle


@pytest.fixture
def clock(telemetry: InMemoryTelemetry) -> ManualClock:
    return telemetry.clock
