from __future__ import annotations

import asyncio

from riptide.hub.turns import Turns
from tests.waiting import in_time
from tests.waiting import turns as run_ready


async def test_other_work_of_the_event_loop_comes_between_any_two_turns() -> None:
    turns = Turns()
    happened: list[str] = []

    async def catch_up() -> None:
        await turns.take("a", short=False)
        happened.append("batch")

    def other_work() -> None:
        happened.append("other")
        if happened.count("batch") < 10:
            asyncio.get_running_loop().call_soon(other_work)

    tasks = [asyncio.create_task(catch_up()) for _ in range(10)]
    other_work()
    await in_time(asyncio.gather(*tasks))
    assert "batch batch" not in " ".join(happened)


async def test_a_task_that_was_cancelled_leaves_its_turn_to_the_next_one() -> None:
    turns = Turns()
    first, second = (turns.take("a", short=False) for _ in range(2))
    first.cancel()
    await in_time(second)
    assert first.cancelled()


async def test_a_newcomer_to_another_topic_does_not_wait_for_all_who_catch_up() -> None:
    turns = Turns()
    order: list[str] = []

    async def take(topic: str, *, short: bool) -> None:
        await turns.take(topic, short=short)
        order.append(topic)

    tasks = [asyncio.create_task(take("loud", short=False)) for _ in range(100)]
    await run_ready(5)
    assert 0 < len(order) < 10
    tasks.append(asyncio.create_task(take("quiet", short=True)))
    tasks.append(asyncio.create_task(take("long", short=False)))
    await in_time(asyncio.gather(*tasks))
    assert order.index("quiet") < 20
    assert order.index("long") < 20
