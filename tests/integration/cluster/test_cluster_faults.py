"""Servers and instances are killed and stopped under load: nothing is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest

from tests.integration.cluster.load import Load

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


async def _kill_a_follower(cluster: Cluster) -> None:
    leader = await cluster.wait_for_leader(STREAM)
    follower = next(name for name in cluster.servers if name != leader)
    cluster.kill(follower)
    await asyncio.sleep(1)
    cluster.start(follower)
    await cluster.wait_until_whole(STREAM)


async def _stop_the_leader(cluster: Cluster) -> None:
    leader = await cluster.wait_for_leader(STREAM)
    cluster.stop(leader)
    await asyncio.sleep(6)
    cluster.go_on(leader)
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
        pytest.param(_kill_a_follower, True, id="follower-killed"),
        pytest.param(_stop_the_leader, True, id="leader-stopped"),
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
    before: list[object] = []

    async def fail() -> None:
        before.extend(load.streams())
        await fault(cluster)

    await load.run(fail)
    assert load.wrong == []
    assert load.streams_at_the_end == before, "streams have ended"
    if has_majority:
        assert load.silence_s() < LONGEST_SILENCE_S


async def test_an_instance_that_is_killed_takes_nothing_along(
    cluster: Cluster, three_instances: list[Service], topic: str
) -> None:
    await cluster.wait_for_leader(STREAM)
    load = Load(three_instances, topic)
    victim = three_instances[1]
    others: list[object] = []

    async def fail() -> None:
        others.extend(load.streams(three_instances[0]) + load.streams(three_instances[2]))
        victim.kill()
        await asyncio.to_thread(victim.start)

    await load.run(fail)
    assert load.wrong == []
    assert set(others) <= set(load.streams_at_the_end), "streams elsewhere have ended"
    assert load.silence_s() < LONGEST_SILENCE_S


async def test_an_instance_that_stands_still_holds_up_its_own_clients_only(
    cluster: Cluster, three_instances: list[Service], topic: str
) -> None:
    await cluster.wait_for_leader(STREAM)
    load = Load(three_instances, topic)
    victim = three_instances[1]
    before: list[object] = []

    async def fail() -> None:
        before.extend(load.streams())
        assert victim.process is not None
        victim.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(16)
        victim.process.send_signal(signal.SIGCONT)

    await load.run(fail)
    assert load.wrong == []
    assert load.streams_at_the_end == before, "streams have ended"
    assert load.silence_s(besides=victim) < LONGEST_SILENCE_S
