"""Instances that share a stream are one service: any of them takes, gives and resumes."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import pytest

from tests import plain
from tests.contract.consumers import TRANSPORTS

if TYPE_CHECKING:
    from tests.contract.consumers import Transport
    from tests.nats_servers import Cluster
    from tests.service import Service

BY_NAME = pytest.mark.parametrize("transport", TRANSPORTS, ids=lambda transport: transport.name)


@BY_NAME
async def test_what_one_instance_takes_is_what_a_consumer_of_another_gets_first(
    cluster: Cluster, three_instances: list[Service], topic: str, transport: Transport
) -> None:
    await cluster.wait_for_leader("shared")
    one, other, _ = three_instances
    async with transport.open(other, topic) as consumer:
        opened = await consumer.next()
        assert (opened["event"], opened["id"].endswith("-0")) == ("opened", True)
        first, _ = await asyncio.to_thread(one.publish, topic, {"n": 1})
        message = await consumer.next("message")
    assert (message["id"], message["data"]) == (first, {"n": 1})


@BY_NAME
async def test_a_consumer_goes_on_by_its_id_at_any_other_instance_without_gap_or_repeat(
    cluster: Cluster, three_instances: list[Service], topic: str, transport: Transport
) -> None:
    await cluster.wait_for_leader("shared")
    ids = []
    for number, instance in zip(range(12), itertools.cycle(three_instances), strict=False):
        ids += await asyncio.to_thread(instance.publish, topic, 2 * number, 2 * number + 1)
    got = [ids[0]]
    numbers = []
    for instance in itertools.islice(itertools.cycle(three_instances), 7):
        async with transport.open(instance, topic, after=got[-1]) as consumer:
            start = await consumer.next()
            assert (start["event"], start["id"]) == ("resumed", got[-1])
            messages = await consumer.messages(3)
            got += [message["id"] for message in messages]
            numbers += [message["data"] for message in messages]
    assert got == ids[:22]
    assert numbers == list(range(1, 22))


async def test_an_id_of_each_instance_s_messages_is_known_to_all(
    cluster: Cluster, three_instances: list[Service], topic: str
) -> None:
    await cluster.wait_for_leader("shared")
    ids = []
    for instance in three_instances:
        ids += (await asyncio.to_thread(instance.publish, topic, "here"))[:1]
    # Each has an epoch of its own, that of its life.
    assert len({each.partition("-")[0] for each in ids}) == 3
    for position, instance in itertools.product(ids, three_instances):
        async with TRANSPORTS[0].open(instance, topic, after=position, until="latest") as consumer:
            records = await consumer.rest()
        assert records[0]["event"] == "resumed"
        assert [r["id"] for r in records if "data" in r] == ids[ids.index(position) + 1 :]


async def test_all_instances_list_the_same_topics(
    cluster: Cluster, three_instances: list[Service], topic: str
) -> None:
    await cluster.wait_for_leader("shared")
    for number, instance in enumerate(three_instances):
        await asyncio.to_thread(instance.publish, f"{topic}.{number}", number)

    def listed(instance: Service) -> list[str]:
        answer = plain.get(f"{instance.url}/topics").json()
        return [each["topic"] for each in answer["topics"] if each["topic"].startswith(topic)]

    for instance in three_instances:
        names = await asyncio.to_thread(listed, instance)
        assert names == [f"{topic}.{number}" for number in range(3)]
