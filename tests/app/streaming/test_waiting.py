from __future__ import annotations

import asyncio

import pytest

from riptide.streaming.waiting import Gate, Mailbox
from tests.waiting import in_time, turns


async def test_an_open_gate_holds_nobody_up() -> None:
    await in_time(Gate().wait())


async def test_a_gate_lets_all_through_once_it_opens() -> None:
    gate = Gate()
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
    gate = Gate()
    gate.clear()
    impatient, patient = (asyncio.create_task(gate.wait()) for _ in range(2))
    await turns()
    impatient.cancel()
    await turns()
    assert (impatient.cancelled(), patient.done()) == (True, False)
    gate.set()
    await in_time(patient)


async def test_a_mailbox_gives_items_in_order() -> None:
    mailbox = Mailbox[int]()
    assert mailbox.empty()
    for number in range(3):
        mailbox.put_nowait(number)
    assert [await mailbox.get() for _ in range(3)] == [0, 1, 2]
    assert mailbox.empty()


async def test_the_reader_of_an_empty_mailbox_waits_for_the_next_item() -> None:
    mailbox = Mailbox[int]()
    reader = asyncio.create_task(mailbox.get())
    await turns()
    assert not reader.done()
    mailbox.put_nowait(1)
    mailbox.put_nowait(2)
    assert await in_time(reader) == 1
    assert await mailbox.get() == 2


async def test_a_reader_that_gives_up_leaves_the_mailbox_whole() -> None:
    mailbox = Mailbox[int]()
    reader = asyncio.create_task(mailbox.get())
    await turns()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    mailbox.put_nowait(1)
    assert await in_time(mailbox.get()) == 1
