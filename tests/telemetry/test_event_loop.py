from __future__ import annotations

import asyncio

import pytest

from riptide_telemetry.event_loop import INTERVAL_S, MEMORY_S, EventLoopMonitor
from riptide_telemetry.testing import ManualClock


class Loop:
    """A monitor whose sleeps are late by the given delays, and which ends after the last."""

    def __init__(self, *delays: float) -> None:
        self.clock = ManualClock()
        self.delays = list(delays)
        self.ticks = 0
        self.monitor = EventLoopMonitor(self.tick, self.clock.seconds, self.sleep)

    def tick(self) -> None:
        self.ticks += 1

    async def sleep(self, seconds: float) -> None:
        if not self.delays:
            raise asyncio.CancelledError
        self.clock.advance(seconds + self.delays.pop(0))

    async def run(self) -> float:
        with pytest.raises(asyncio.CancelledError):
            await self.monitor.run()
        return self.monitor.lag_seconds()


async def test_a_loop_that_is_on_time_has_no_lag() -> None:
    assert await Loop(0, 0, 0).run() == 0


async def test_the_lag_is_the_largest_delay() -> None:
    assert await Loop(0.01, 0.5, 0.02).run() == pytest.approx(0.5)


async def test_a_delay_is_forgotten_after_a_while() -> None:
    steps = int(MEMORY_S / INTERVAL_S)
    assert await Loop(0.5, *[0.0] * (steps - 1)).run() == pytest.approx(0.5)
    assert await Loop(0.5, *[0.0] * steps).run() == 0


async def test_it_ticks_once_for_each_timer() -> None:
    loop = Loop(0, 0, 0)
    await loop.run()
    assert loop.ticks == 3


def test_a_delay_that_has_not_ended_counts_already() -> None:
    loop = Loop()
    loop.monitor._due = loop.clock.seconds()
    loop.clock.advance(3)
    assert loop.monitor.lag_seconds() == pytest.approx(3)


async def test_a_monitor_that_was_stopped_does_not_lag_ever_more() -> None:
    loop = Loop(0)
    await loop.run()
    loop.clock.advance(1_000)
    assert loop.monitor.lag_seconds() == 0


async def test_it_watches_the_real_loop_until_it_is_cancelled() -> None:
    ticked = asyncio.Event()
    watch = asyncio.create_task(EventLoopMonitor(ticked.set).run())
    await ticked.wait()
    watch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watch
