from __future__ import annotations

import asyncio

import pytest

from riptide.server.mailbox import Mailbox
from tests.waiting import in_time, turns


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
