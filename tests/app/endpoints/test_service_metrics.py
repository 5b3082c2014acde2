from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from riptide.endpoints import service_metrics
from riptide.endpoints.service_metrics import ServiceMetrics
from riptide.errors import StartError
from riptide.main import make_app
from riptide.service import make_service
from riptide.settings.settings import Settings
from riptide_telemetry import ServicePart, Snapshot, StreamProtocol, catalog, start_telemetry
from tests.app.endpoints.answers import ask
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from riptide_telemetry import Telemetry

OPENED = catalog.CONNECTIONS_OPENED.name
SSE = "protocol=sse"


class Shared:
    """The snapshots of this worker, and of another one that has opened 100 connections."""

    def __init__(self, *, is_successor: bool = False) -> None:
        self.is_successor = is_successor
        self.shown: list[Snapshot] = []

    def show(self, snapshot: bytes) -> None:
        self.shown.append(Snapshot.decode(snapshot))

    def all(self) -> Iterator[Snapshot]:
        yield Snapshot({OPENED: {SSE: 100}})
        yield self.shown[-1]


@pytest.fixture
def telemetry() -> Telemetry:
    return start_telemetry("1")


def _shown(shared: Shared) -> float:
    return shared.shown[-1].counts[OPENED][SSE]


async def test_what_a_worker_counts_is_shared_soon(telemetry: Telemetry) -> None:
    shared = Shared()
    metrics = ServiceMetrics(telemetry, shared)
    await metrics.begin()
    assert catalog.EVENT_LOOP_LAG.name in shared.shown[0].gauges, "gauges are there at once"
    running = asyncio.create_task(metrics.run())
    telemetry.metrics.record_connection(StreamProtocol.SSE)
    await eventually(lambda: _shown(shared) == 1)
    running.cancel()


async def test_a_scrape_shows_this_worker_as_it_is_now_and_only_what_it_has_shared(
    telemetry: Telemetry,
) -> None:
    shared = Shared()
    metrics = ServiceMetrics(telemetry, shared)
    await metrics.begin()
    telemetry.metrics.record_connection(StreamProtocol.SSE)
    text = metrics.up_to_date().render().body.decode()
    assert _shown(shared) == 1
    assert 'riptide_streaming_connections_opened_total{protocol="sse"} 101.0' in text


async def test_gauges_that_hang_hold_neither_counts_nor_scrapes_up(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_metrics, "GAUGES_INTERVAL_S", 0)
    disk, asked, hangs = threading.Event(), threading.Event(), False

    def size() -> int:
        if hangs:
            asked.set()
            disk.wait()
        return 5

    telemetry.observe({catalog.LOG_SIZE: size})
    shared = Shared()
    metrics = ServiceMetrics(telemetry, shared)
    await metrics.begin()
    hangs = True
    running = asyncio.create_task(metrics.run())
    try:
        await eventually(asked.is_set)
        telemetry.metrics.record_connection(StreamProtocol.SSE)
        await eventually(lambda: _shown(shared) == 1)
        text = metrics.up_to_date().render().body.decode()
        assert "riptide_log_size_bytes 5.0" in text
    finally:
        running.cancel()
        disk.set()


@pytest.mark.parametrize(("is_successor", "counted"), [(False, 1), (True, 0)])
async def test_a_successor_leaves_the_fault_to_the_counts_of_the_worker_that_met_it(
    telemetry: Telemetry, *, is_successor: bool, counted: int
) -> None:
    telemetry.lifecycle.part_failed(ServicePart.DRAIN)
    shared = Shared(is_successor=is_successor)
    await ServiceMetrics(telemetry, shared).begin()
    assert shared.shown[-1].counts[catalog.FAULTS.name]["part=drain"] == counted


async def test_a_worker_answers_for_all_and_shares_its_last_counts_at_its_end() -> None:
    shared = Shared()
    service = make_service(Settings(log="memory"), None, shared)
    app = make_app(service)
    async with app.router.lifespan_context(app):
        text = (await ask(app, "GET", "/metrics")).body.decode()
        assert 'riptide_streaming_connections_opened_total{protocol="sse"} 100.0' in text
        service.telemetry.metrics.record_connection(StreamProtocol.SSE)
    assert _shown(shared) == 1


async def test_a_worker_that_cannot_start_shares_nothing_and_says_only_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    shared = Shared()
    service = make_service(Settings(data_dir=tmp_path / "file" / "data"), None, shared)
    with pytest.raises(StartError):
        async with make_app(service).router.lifespan_context(None):
            pass
    assert shared.shown == []
    assert caplog.records == []


async def test_a_worker_that_cannot_share_has_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = Shared()
    service = make_service(Settings(log="memory"), None, shared)
    app = make_app(service)
    async with app.router.lifespan_context(app):
        with monkeypatch.context() as patch:
            patch.setattr(service.service_metrics, "share", lambda: 1 / 0)
            await eventually(lambda: service.faults.first is ServicePart.METRICS_SERVER)


async def test_nothing_is_shared_if_metrics_are_only_pushed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    service = make_service(Settings(log="memory"), None, Shared())
    assert service.service_metrics is None
    assert (await ask(make_app(service), "GET", "/metrics")).status == 404
