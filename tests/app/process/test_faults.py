from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from riptide.process.faults import Faults, caught_on_loop
from riptide_telemetry import ServicePart
from tests.app.recorder import Recorder
from tests.waiting import turns


def test_a_fault_is_said_with_its_traceback_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    with pytest.raises(ValueError, match="the cause") as raised:
        int("the cause")
    Faults(recorder).report(ServicePart.LOG_WRITER, raised.value)
    (record,) = caplog.records
    assert record.levelno == logging.CRITICAL
    assert "log_writer" in record.getMessage()
    assert "the cause" in caplog.text
    assert recorder.of("part_failed", "part") == [(ServicePart.LOG_WRITER,)]


def test_only_the_first_fault_calls_the_listeners() -> None:
    faults = Faults()
    called: list[str] = []
    faults.at_first(lambda: called.append("early"))
    faults.report(ServicePart.HEARTBEAT, ValueError())
    faults.report(ServicePart.LOG_WRITER, ValueError())
    assert (called, faults.first) == (["early"], ServicePart.HEARTBEAT)


def test_who_listens_after_the_first_fault_is_called_at_once() -> None:
    faults = Faults()
    called: list[str] = []
    faults.report(ServicePart.HEARTBEAT, ValueError())
    faults.at_first(lambda: called.append("late"))
    assert called == ["late"]


def test_a_listener_that_fails_is_said_and_hinders_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> None:
        raise ValueError("a fault of the listener")

    faults = Faults()
    called: list[str] = []
    faults.at_first(fail)
    faults.at_first(lambda: called.append("after"))
    faults.report(ServicePart.HEARTBEAT, ValueError())
    assert called == ["after"]
    assert "could not be acted on" in caplog.text


def _callback_of(module: str) -> Any:
    scope: dict[str, Any] = {"__name__": module}
    code = compile("def fail(): raise ValueError('a fault')", f"/site-packages/{module}", "exec")
    exec(code, scope)  # noqa: S102  # a function of that module
    return scope["fail"]


async def test_what_a_callback_of_the_service_raises_is_a_fault() -> None:
    faults = Faults()
    with caught_on_loop(faults):
        asyncio.get_running_loop().call_soon(_callback_of("riptide.hub.fanout"))
        await turns()
    assert faults.first is ServicePart.CALLBACK


async def test_what_libraries_or_single_connections_raise_is_only_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults, loop = Faults(), asyncio.get_running_loop()
    with caught_on_loop(faults):
        for module in ("uvicorn.server", "riptide.server.http_limits", "riptide_telemetry.x"):
            loop.call_soon(_callback_of(module))
        await turns()
    assert faults.first is None
    assert caplog.text.count("Exception in callback") == 3
    assert loop.get_exception_handler() is None


def test_a_fault_of_another_process_is_counted_and_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    recorder = Recorder()
    faults = Faults(recorder)
    faults.met_elsewhere(ServicePart.LOG_WRITER, "the process of the log")
    assert recorder.of("part_failed", "part") == [(ServicePart.LOG_WRITER,)]
    assert faults.first is None
    assert "log_writer has ended the process of the log" in caplog.text
