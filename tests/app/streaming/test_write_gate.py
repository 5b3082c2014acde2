from __future__ import annotations

import asyncio

from riptide.streaming.write_gate import WriteGate
from tests.waiting import in_time, turns


async def test_an_open_gate_holds_nobody_up() -> None:
    await in_time(WriteGate().wait())


async def test_a_gate_lets_all_through_once_it_opens() -> None:
    gate = WriteGate()
    gate.clear()
    waiters = [asyncio.create_task(gate.wait()) for _ in range(3)]
    await turns()
    assert not any(waiter.done() for waiter in waiters)
    gate.set()
    await in_time(asyncio.gather(*waiters))
    gate.clear()
    again = asyncio.create_task(gate.wait())
    await turns()
    assert not again.done()
    gate.set()
    gate.set()
    await in_time(again)


async def test_who_gives_up_at_a_gate_takes_nobody_along() -> None:
    gate = WriteGate()
    gate.clear()
    impatient, patient = (asyncio.create_task(gate.wait()) for _ in range(2))
    await turns()
    impatient.cancel()
    await turns()
    assert (impatient.cancelled(), patient.done()) == (True, False)
    gate.set()
    await in_time(patient)
