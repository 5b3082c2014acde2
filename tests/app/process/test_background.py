from __future__ import annotations

import asyncio

import pytest

from riptide.process.background import beside
from riptide.process.faults import Faults
from riptide_telemetry import ServicePart
from tests.waiting import eventually


async def _forever() -> None:
    await asyncio.sleep(3600)


async def test_all_of_it_runs_within_and_has_ended_after() -> None:
    said: list[str] = []

    async def run(name: str) -> None:
        try:
            said.append(f"{name} runs")
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            said.append(f"{name} has ended")

    background = {
        ServicePart.HEARTBEAT: lambda: run("a"),
        ServicePart.KEY_REFRESH: lambda: run("b"),
    }
    faults = Faults()

    async def fail_beside() -> None:
        async with beside(faults, background):
            await asyncio.sleep(0)
            assert said == ["a runs", "b runs"]
            raise RuntimeError("a fault")

    before = asyncio.all_tasks()
    with pytest.raises(RuntimeError, match="a fault"):
        await fail_beside()
    assert sorted(said[2:]) == ["a has ended", "b has ended"]
    assert asyncio.all_tasks() == before
    assert faults.first is None


async def test_there_may_be_nothing_to_run() -> None:
    async with beside(Faults(), {}):
        pass


async def test_a_task_may_return_because_it_has_nothing_to_do() -> None:
    faults = Faults()
    async with beside(faults, {ServicePart.KEY_REFRESH: lambda: asyncio.sleep(0)}):
        for _ in range(5):
            await asyncio.sleep(0)
    assert faults.first is None


async def test_a_task_that_raises_is_a_fault_of_its_part_at_once() -> None:
    async def fail() -> None:
        raise RuntimeError("a fault")

    faults = Faults()
    async with beside(faults, {ServicePart.HEARTBEAT: _forever, ServicePart.MEMORY_TRIM: fail}):
        await eventually(lambda: faults.first is ServicePart.MEMORY_TRIM)


async def test_a_task_that_somebody_else_cancels_is_a_fault_too() -> None:
    async def wait_for_a_cancelled_task() -> None:
        other = asyncio.create_task(_forever())
        asyncio.get_running_loop().call_soon(other.cancel)
        await other

    faults = Faults()
    async with beside(faults, {ServicePart.KEY_REFRESH: wait_for_a_cancelled_task}):
        await eventually(lambda: faults.first is ServicePart.KEY_REFRESH)


async def test_a_task_that_raises_when_it_is_ended_is_a_fault() -> None:
    async def fail_at_the_end() -> None:
        try:
            await _forever()
        finally:
            raise RuntimeError("a fault")

    faults = Faults()
    async with beside(faults, {ServicePart.DESCRIPTOR_WATCH: fail_at_the_end}):
        await asyncio.sleep(0)
    assert faults.first is ServicePart.DESCRIPTOR_WATCH
