from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import resource
from typing import TYPE_CHECKING

import pytest

from riptide.errors import StartError
from riptide.lifespan import lifespan
from riptide.main import make_app
from riptide.process import descriptors
from riptide.process.interpreter import COLLECTOR_THRESHOLDS
from riptide.service import make_service
from riptide.settings.settings import Settings
from riptide.storage.message_log import Retention
from riptide.storage.sqlite import SqliteLog
from tests.app.endpoints.answers import publish
from tests.asgi import AsgiExchange, http_scope
from tests.waiting import in_time

if TYPE_CHECKING:
    from pathlib import Path

    from riptide.service import Service


@pytest.fixture
def stored(tmp_path: Path) -> Service:
    return make_service(Settings(data_dir=tmp_path, drain_seconds=60, heartbeat_seconds=0.05))


class Shutdown:
    """Exports that only know whether they were shut down."""

    def __init__(self) -> None:
        self.calls = 0

    def shutdown(self) -> None:
        self.calls += 1


async def _next_event(exchange: AsgiExchange, event: bytes) -> None:
    while event not in (await exchange.next()).get("body", b""):
        pass


async def test_the_log_is_open_within_and_closed_after(stored: Service, tmp_path: Path) -> None:
    async with lifespan(stored):
        await publish(make_app(stored), "a", b"1")
    # The lock is free, and what was acknowledged is there.
    log = SqliteLog(tmp_path, Retention(10, 60))
    await log.open()
    assert (await log.bounds("a")).head == 1
    await log.close()


async def test_the_collector_of_cycles_is_tamed_within_and_as_before_after(
    stored: Service,
) -> None:
    before = gc.get_threshold()
    async with lifespan(stored):
        assert gc.isenabled()
        assert gc.get_threshold() == COLLECTOR_THRESHOLDS
    assert gc.get_threshold() == before


async def test_heartbeats_beat_within_and_no_task_is_left_after(stored: Service) -> None:
    before = asyncio.all_tasks()
    async with lifespan(stored):
        exchange = AsgiExchange(make_app(stored), http_scope("GET", "/topics/a"))
        await _next_event(exchange, b'"heartbeat"')
        await exchange.send({"type": "http.disconnect"})
        await in_time(exchange.task)
    assert asyncio.all_tasks() == before


async def test_streams_that_are_open_at_the_end_are_drained(stored: Service) -> None:
    async with lifespan(stored):
        exchange = AsgiExchange(make_app(stored), http_scope("GET", "/topics/a"))
        await exchange.next()
    await _next_event(exchange, b'"draining"')
    await in_time(exchange.task)


async def test_telemetry_is_shut_down_last_and_once(
    stored: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    telemetry = Shutdown()
    close = stored.log.close

    async def watched_close() -> None:
        await close()
        order.append(f"closed, {telemetry.calls} shutdowns")

    monkeypatch.setattr(stored.log, "close", watched_close)
    stored.telemetry.shutdown()
    watched = dataclasses.replace(stored.telemetry, _exports=telemetry)  # type: ignore[arg-type]  # as much of them as is used
    async with lifespan(dataclasses.replace(stored, telemetry=watched)):
        pass
    assert order == ["closed, 0 shutdowns"]
    assert telemetry.calls == 1


async def test_there_are_no_more_places_than_descriptors(stored: Service) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    stored.streams.limit = limit
    async with lifespan(stored):
        assert stored.streams.limit == limit - descriptors.RESERVE


async def test_a_fault_within_is_passed_on_after_everything_was_closed(
    stored: Service, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="a fault"):
        async with lifespan(stored):
            raise RuntimeError("a fault")
    log = SqliteLog(tmp_path, Retention(10, 60))
    await log.open()
    await log.close()


async def test_a_log_that_cannot_be_opened_is_said_and_leaves_nothing_running(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    service = make_service(Settings(data_dir=tmp_path / "file" / "data"))
    before = asyncio.all_tasks()
    with pytest.raises(StartError):
        async with lifespan(service):
            pytest.fail("it started")
    assert asyncio.all_tasks() == before
    service.telemetry.shutdown()


async def test_log_records_are_exported_within_and_not_after(stored: Service) -> None:
    kept: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(record.getMessage())

    telemetry = dataclasses.replace(stored.telemetry, log_handler=Keeping())
    logger = logging.getLogger("riptide.test")
    async with lifespan(dataclasses.replace(stored, telemetry=telemetry)):
        logger.warning("within")
    logger.warning("after")
    assert "within" in kept
    assert "after" not in kept
