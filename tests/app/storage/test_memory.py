"""What is particular to the log in memory; the shared promises are in test_message_log."""

from __future__ import annotations

import asyncio

from riptide.storage.memory import MemoryLog
from riptide.storage.message_log import Retention
from tests.app.messages import published
from tests.app.storage.appending import append
from tests.app.storage.set_clock import SetClock


async def test_an_append_is_done_in_the_next_turn_of_the_event_loop() -> None:
    log = MemoryLog(Retention(10, 60))
    done = log.append(published("a", [b"0"]))
    await asyncio.sleep(0)
    assert done.done()


async def test_the_size_is_that_of_the_payloads_and_shrinks_with_retention() -> None:
    log = MemoryLog(Retention(2, 60))
    await append(log, "a", b"12345", b"123", b"12")
    assert log.size_bytes() == 5


async def test_every_log_is_a_life_of_its_own() -> None:
    assert MemoryLog(Retention(1, 1)).epoch != MemoryLog(Retention(1, 1)).epoch


async def test_a_batch_larger_than_the_retention_leaves_its_end() -> None:
    log = MemoryLog(Retention(2, 60))
    assert await append(log, "a", b"1", b"2", b"3") == 1
    assert await log.bounds("a") == (2, 3)


async def test_messages_expire_without_anybody_appending() -> None:
    log = MemoryLog(Retention(10, 60))
    await append(log, "a", b"1")
    (message,) = await log.read("a", 0)
    message.accepted_at -= 61_000_000_000
    assert await log.read("a", 0) == []
    assert await log.bounds("a") == (2, 1)
    assert log.size_bytes() == 0


async def test_no_clock_that_is_set_deletes_messages_early_or_keeps_them_longer() -> None:
    clock = SetClock()
    log = MemoryLog(Retention(10, 60, clock=clock.expiry))
    await log.append(published("a", [b"1"], clock.wall_ns))
    clock.set_by(86_400)
    assert len(await log.read("a", 0)) == 1
    clock.set_by(-30 * 86_400)
    clock.go_on(60)
    assert len(await log.read("a", 0)) == 1
    clock.go_on(1)
    assert await log.read("a", 0) == []
