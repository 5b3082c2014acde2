"""Workers that share a log are one service: all messages reach all consumers, over any worker.

What becomes of it while its processes are killed is tested in tests/benchmarks/test_endurance.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.endurance.following import Following
from benchmarks.endurance.publishing import Publisher
from tests import plain
from tests.contract.consumers import TRANSPORTS
from tests.waiting import wait_until
from tests.worker_processes import log_process_of, targets

if TYPE_CHECKING:
    from tests.conftest import StartService
    from tests.service import Service

WORKERS = 3
CONSUMERS = 300
PUBLISHERS = 50
# Connections by which each worker is met for sure, or nearly: all miss one once in 10**7 times.
MANY = 40
ACTIVE = "riptide_streaming_active_connections"
SENT = "riptide_streaming_messages_sent_total"
PUBLISHED = "riptide_streaming_messages_published_total"
UNACCOUNTED = "riptide_streaming_messages_unaccounted"


def _start(start_service: StartService, **settings: object) -> Service:
    service = start_service(workers=WORKERS, **settings)
    wait_until(lambda: len(targets(service)) == WORKERS)
    return service


def _of_each_worker(service: Service, name: str) -> list[float]:
    """Return the sum of a metric for each worker."""
    return [
        sum(
            sample.value
            for family in text_string_to_metric_families(plain.get(f"http://{each}/metrics").text)
            for sample in family.samples
            if sample.name == name
        )
        for each in targets(service)
    ]


async def test_what_is_published_over_any_worker_reaches_all_consumers_once_and_in_one_order(
    start_service: StartService,
) -> None:
    service = _start(start_service)
    port, topics = int(service.settings["PORT"]), ("a", "b", "c")
    publishers = [
        Publisher(port, topics[n % 3 :] + topics[: n % 3], "publisher", first=n * 10**9)
        for n in range(PUBLISHERS)
    ]
    async with Following([port], CONSUMERS, topics) as following:
        async with contextlib.AsyncExitStack() as load:
            for publisher in publishers:
                await load.enter_async_context(publisher.publishing(3, 0.05))
            await asyncio.sleep(2)
        logs = await following.read_logs()
        await following.caught_up({topic: max(log) for topic, log in logs.items()})
        figures = following.figures(logs)
        active = await asyncio.to_thread(_of_each_worker, service, ACTIVE)
    assert [f"{each.name}: {each.median}" for each in figures if each.verdict == "missed"] == []
    acknowledged = Counter(each for publisher in publishers for each in publisher.acknowledged)
    kept = Counter((topic, number) for topic, log in logs.items() for number in log.values())
    assert acknowledged == kept
    # One order: each publisher's own is a part of it.
    for log in logs.values():
        for n in range(PUBLISHERS):
            own = [number for _, number in sorted(log.items()) if number // 10**9 == n]
            assert own == sorted(own)

    assert sum(active) == CONSUMERS
    assert min(active) > 0
    received = sum(follower.account.received for follower in following.followers)
    await asyncio.to_thread(service.wait_for_metric, 0, ACTIVE)
    # And those who read the logs.
    await asyncio.to_thread(service.wait_for_metric, received + kept.total(), SENT)
    assert await asyncio.to_thread(service.metric, PUBLISHED) == acknowledged.total()
    assert min(await asyncio.to_thread(_of_each_worker, service, PUBLISHED)) > 0
    assert await asyncio.to_thread(service.metric, UNACCOUNTED) == 0
    assert await asyncio.to_thread(service.stop) == 0


@pytest.mark.parametrize("log", ["sqlite", "memory"])
async def test_an_id_that_one_worker_gave_is_resumed_by_all(
    start_service: StartService, topic: str, log: str
) -> None:
    service = _start(start_service, log=log)
    ids = [service.publish(topic, number)[0] for number in range(6)]
    for number in range(MANY):
        transport = TRANSPORTS[number % len(TRANSPORTS)]
        async with transport.open(service, topic, after=ids[2]) as consumer:
            assert (await consumer.next())["event"] == "resumed"
            assert [each["id"] for each in await consumer.messages(3)] == ids[3:]
    assert await asyncio.to_thread(service.stop) == 0


async def test_a_gap_has_the_same_exact_count_over_all_workers(
    start_service: StartService, topic: str
) -> None:
    service = _start(start_service, log="memory", retention_messages=10)
    ids = [service.publish(topic, number)[0] for number in range(30)]
    for number in range(MANY):
        transport = TRANSPORTS[number % len(TRANSPORTS)]
        async with transport.open(service, topic, after=ids[4]) as consumer:
            gap = await consumer.next()
            assert (gap["event"], gap["missed"]) == ("gap", 15)
            assert [each["id"] for each in await consumer.messages(10)] == ids[20:]
    assert await asyncio.to_thread(service.stop) == 0


async def test_a_log_in_memory_that_was_killed_is_another_log_to_all_consumers(
    start_service: StartService, topic: str
) -> None:
    service = _start(start_service, log="memory")
    last = service.publish(topic, 1)[1]
    async with contextlib.AsyncExitStack() as stack:
        consumers = [
            await stack.enter_async_context(transport.open(service, topic))
            for transport in TRANSPORTS
            for _ in range(3)
        ]
        for consumer in consumers:
            await consumer.next("opened")
        os.kill(log_process_of(service.pid), signal.SIGKILL)
        for consumer in consumers:
            assert (await consumer.next("end"))["reason"] != "draining"
    await asyncio.to_thread(wait_until, lambda: _is_ready(service))
    for transport in TRANSPORTS:
        async with transport.open(service, topic, after=last) as consumer:
            assert (await consumer.next())["event"] == "reset"
    assert await asyncio.to_thread(service.stop) == 0


def _is_ready(service: Service) -> bool:
    return plain.get(f"{service.url}/healthz/ready").status_code == 200
