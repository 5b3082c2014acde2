from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from riptide.encoding.formats import NDJSON
from riptide.hub.backlog import Backlog
from riptide.hub.log_reads import LogReads
from riptide.hub.right_of_way import RightOfWay
from riptide.hub.ring import Ring, RingLimits
from riptide.hub.subscription import Terms
from riptide.hub.topic import Topic
from riptide.hub.turns import Turns
from riptide.slow_consumers import SlowConsumerPolicy
from riptide_telemetry import Lifecycle
from tests.app.messages import make_messages
from tests.waiting import turns

if TYPE_CHECKING:
    from riptide.storage.memory import MemoryLog

TERMS = Terms(0, None, SlowConsumerPolicy.DISCONNECT, "0a1b2c3d")


def _topic(log: MemoryLog) -> Topic:
    return Topic(
        Ring(RingLimits(10, 100_000)),
        Backlog(LogReads(log, RightOfWay()), Turns(), "a"),
        Lifecycle(),
    )


async def test_a_topic_has_the_name_of_its_backlog_and_tells_it_to_its_subscriptions(
    log: MemoryLog,
) -> None:
    topic = _topic(log)
    assert topic.name == topic.subscribe(NDJSON, TERMS).topic == "a"


async def test_a_push_wakes_who_waits_and_one_that_brings_nothing_new_does_not(
    log: MemoryLog,
) -> None:
    topic = _topic(log)
    topic.ring.advance_to(1, "0a1b2c3d")
    subscription = topic.subscribe(NDJSON, TERMS._replace(after=1))
    waiter = asyncio.create_task(subscription.next())
    await turns()
    topic.push(make_messages(1, 1))
    await turns()
    assert not waiter.done()
    topic.push(make_messages(2, 2))
    await turns()
    assert waiter.done()


async def test_who_may_have_something_queued_is_whoever_does_not_wait(log: MemoryLog) -> None:
    topic = _topic(log)
    waiting, busy = (topic.subscribe(NDJSON, TERMS) for _ in range(2))
    waiter = asyncio.create_task(waiting.next())
    await turns()
    assert topic.behind() == [busy]
    topic.unsubscribe(busy)
    assert topic.behind() == []
    assert topic.subscriptions == {waiting}
    waiter.cancel()
