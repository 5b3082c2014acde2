"""Servers and instances are killed and stopped under load: nothing is lost, nothing comes twice.

More faults, and for longer: ``python -m benchmarks.endurance cluster``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.integration.cluster.load import Load, place_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.nats_servers import Cluster
    from tests.service import Service

STREAM = "shared"
# An election takes 4 to 9 seconds.
LONGEST_SILENCE_S = 15.0


async def _kill_the_leader(cluster: Cluster) -> None:
    leader = await cluster.wait_for_leader(STREAM)
    cluster.kill(leader)
    assert await cluster.wait_for_leader(STREAM) != leader
    cluster.start(leader)
    await cluster.wait_until_whole(STREAM)


async def _kill_all(cluster: Cluster) -> None:
    for name in cluster.servers:
        cluster.kill(name)
    for name in cluster.servers:
        cluster.start(name)
    await cluster.wait_until_whole(STREAM)


async def _upgrade(cluster: Cluster) -> None:
    """End and start one server after the other, each once the one before has all messages."""
    for name in cluster.servers:
        cluster.terminate(name)
        cluster.start(name)
        await cluster.wait_until_whole(STREAM)


@pytest.mark.parametrize(
    ("fault", "has_majority"),
    [
        pytest.param(_kill_the_leader, True, id="leader-killed"),
        pytest.param(_upgrade, True, id="one-after-another"),
        pytest.param(_kill_all, False, id="all-killed"),
    ],
)
async def test_servers_of_nats_that_fail_lose_nothing_and_end_no_stream(
    cluster: Cluster,
    three_instances: list[Service],
    topic: str,
    fault: Callable[[Cluster], Awaitable[None]],
    has_majority: bool,  # noqa: FBT001  # a parameter of this test
) -> None:
    load = Load(three_instances, topic)
    await load.run(lambda: fault(cluster))
    assert load.wrong == []
    assert load.ended() == 0
    if has_majority:
        assert load.silence_s() < LONGEST_SILENCE_S


async def test_an_instance_that_is_killed_takes_nothing_along(
    cluster: Cluster, three_instances: list[Service], topic: str
) -> None:
    await cluster.wait_for_leader(STREAM)
    load = Load(three_instances, topic)
    victim = three_instances[1]

    async def fail() -> None:
        victim.kill()
        # It counts from 0 again.
        load.reborn.add(place_of(victim))
        await asyncio.to_thread(victim.start)

    await load.run(fail)
    assert load.wrong == []
    assert load.ended(besides={place_of(victim)}) == 0
    assert load.silence_s() < LONGEST_SILENCE_S
