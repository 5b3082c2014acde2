from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from riptide.hub import right_of_way as module
from riptide.hub.right_of_way import RightOfWay
from tests.waiting import eventually, turns

if TYPE_CHECKING:
    import pytest


async def test_work_is_done_in_a_later_turn_while_nothing_is_published() -> None:
    right_of_way = RightOfWay()
    done: list[int] = []
    right_of_way.call(lambda: done.append(1))
    assert not done
    await turns(2)
    assert done == [1]


async def test_work_waits_for_all_messages_that_are_being_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 3600)
    right_of_way = RightOfWay()
    done: list[int] = []
    right_of_way.take()
    right_of_way.take()
    right_of_way.call(lambda: done.append(1))
    right_of_way.give_back()
    right_of_way.call(lambda: done.append(2))
    await turns(5)
    assert done == []
    right_of_way.give_back()
    await turns(2)
    assert done == [1, 2]


async def test_work_has_its_time_now_and_then_though_messages_are_published_without_a_pause() -> (
    None
):
    right_of_way = RightOfWay()
    right_of_way.take()
    done: list[float] = []

    def work() -> None:
        done.append(asyncio.get_running_loop().time())
        right_of_way.call(work)

    right_of_way.call(work)
    await eventually(lambda: done and done[-1] > done[0] + 10 * module.PATIENCE_S)
    gaps = [later - sooner for sooner, later in itertools.pairwise(done)]
    # It goes on for a while each time, and waits in between.
    assert min(gaps) < module.PATIENCE_S / 2
    assert max(gaps) > module.PATIENCE_S / 2
