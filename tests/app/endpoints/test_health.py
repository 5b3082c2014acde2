from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.storage.clock import ExpiryClock
from riptide_telemetry import ServicePart, Signal
from tests.app.endpoints.answers import ask

if TYPE_CHECKING:
    import pytest
    from starlette.applications import Starlette

    from riptide.service import Service


async def test_the_service_is_live_and_ready_when_it_has_started(app: Starlette) -> None:
    live, ready = await ask(app, "GET", "/healthz/live"), await ask(app, "GET", "/healthz/ready")
    assert (live.status, live.json) == (200, {"status": "live"})
    assert (ready.status, ready.json["status"]) == (200, "ready")
    assert ready.json["connections"] == "0 of 3"


async def test_a_draining_service_is_live_but_not_ready(app: Starlette, service: Service) -> None:
    service.streams.draining = True
    answer = await ask(app, "GET", "/healthz/ready")
    assert (answer.status, answer.json["status"]) == (503, "not ready")
    assert answer.json["draining"] == "yes"
    assert (await ask(app, "GET", "/healthz/live")).status == 200


async def test_a_failing_log_makes_it_not_ready_and_is_named(
    app: Starlette, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.log, "unavailable_reason", lambda: "disk full")
    answer = await ask(app, "GET", "/healthz/ready")
    assert answer.status == 503
    assert answer.json["log"] == "failing: disk full"
    assert answer.json["draining"] == "no"


async def test_a_fault_makes_it_not_ready_and_the_part_is_named(
    app: Starlette, service: Service
) -> None:
    assert (await ask(app, "GET", "/healthz/ready")).json["fault"] == "none"
    service.faults.report(ServicePart.FAN_OUT, LookupError())
    answer = await ask(app, "GET", "/healthz/ready")
    assert answer.status == 503
    assert answer.json["fault"].startswith("fan_out failed")


async def test_nobody_may_store_an_answer(app: Starlette) -> None:
    for path in ("/healthz/live", "/healthz/ready"):
        assert (await ask(app, "GET", path)).headers["cache-control"] == "no-store"


async def test_exports_are_told_of_and_readiness_does_not_depend_on_them(
    app: Starlette, service: Service
) -> None:
    health = service.telemetry.export_health
    health[Signal.TRACES].endpoint = "http://collector"
    health[Signal.TRACES].failed("refused")
    answer = await ask(app, "GET", "/healthz/ready")
    assert answer.status == 200
    assert answer.json["traces_export"] == "failing: 1 in a row, 0 waiting"
    assert (answer.json["metrics_export"], answer.json["logs_export"]) == ("off", "off")


async def test_keys_that_were_never_read_make_it_not_ready_and_are_named(
    app: Starlette, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await ask(app, "GET", "/healthz/ready")).json["keys"] == "ok"
    monkeypatch.setattr(service.gate, "keys_missing", lambda: "no answer")
    answer = await ask(app, "GET", "/healthz/ready")
    assert (answer.status, answer.json["keys"]) == (503, "missing: no answer")


async def test_a_clock_that_is_in_doubt_is_told_of_and_readiness_does_not_depend_on_it(
    app: Starlette, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await ask(app, "GET", "/healthz/ready")).json["clock"] == "ok"
    monkeypatch.setattr(ExpiryClock, "doubt", lambda _: "the clock went ahead")
    answer = await ask(app, "GET", "/healthz/ready")
    assert (answer.status, answer.json["clock"]) == (200, "the clock went ahead")
