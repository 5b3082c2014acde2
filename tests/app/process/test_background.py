from __future__ import annotations

import asyncio

import pytest

from riptide.process.background import beside


async def test_all_of_it_runs_within_and_has_ended_after() -> None:
    said: list[str] = []

    async def run(name: str) -> None:
        try:
            said.append(f"{name} runs")
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            said.append(f"{name} has ended")

    async def fail_beside() -> None:
        async with beside(run("a"), run("b")):
            await asyncio.sleep(0)
            assert said == ["a runs", "b runs"]
            raise RuntimeError("a fault")

    before = asyncio.all_tasks()
    with pytest.raises(RuntimeError, match="a fault"):
        await fail_beside()
    assert sorted(said[2:]) == ["a has ended", "b has ended"]
    assert asyncio.all_tasks() == before


async def test_there_may_be_nothing_to_run() -> None:
    async with beside():
        pass
