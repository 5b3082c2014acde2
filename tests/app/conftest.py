"""What the tests of the service share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from riptide.hub.hub import Hub
from riptide.hub.ring import RingLimits
from riptide.lifespan import lifespan
from riptide.main import make_app
from riptide.service import make_service
from riptide.settings.settings import Settings
from riptide.storage.memory import MemoryLog
from riptide.storage.message_log import Retention
from tests.app.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.applications import Starlette

    from riptide.service import Service


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for variable in list(os.environ):
        if variable.startswith(("RIPTIDE_", "OTEL_")) and variable != "RIPTIDE_TEST_SKIPS":
            monkeypatch.delenv(variable)
    # As ``riptide serve`` sets it for its process.
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http")


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(Retention(1000, 3600))


@pytest.fixture
def hub(log: MemoryLog, recorder: Recorder) -> Hub:
    """A hub whose rings hold 10 messages and which disconnects slow consumers."""
    return Hub(log, recorder.lifecycle, RingLimits(10, 100_000))


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """All parts of the service, on a log in memory, within its lifespan."""
    service = make_service(
        Settings(
            log="memory",
            drain_seconds=0.5,
            max_connections=3,
            max_body_bytes=1000,
            max_message_bytes=100,
        )
    )
    async with lifespan(service):
        yield service


@pytest.fixture
def app(service: Service) -> Starlette:
    """The application of the service."""
    return make_app(service)
