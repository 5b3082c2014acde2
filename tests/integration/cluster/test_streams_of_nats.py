"""The stream of NATS is deleted, is full, or cannot be created yet."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from benchmarks.endurance.cluster.questions import ask
from tests import plain
from tests.contract.consumers import TRANSPORTS
from tests.integration.cluster.load import ACTIVE, UNACCOUNTED
from tests.integration.log_faults.publishing import NOT, readiness
from tests.nats_servers import Cluster, one_server
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.cluster.conftest import StartInstances
    from tests.service import Service

JSON = {"Content-Type": "application/json"}


def _is_ready(service: Service) -> bool:
    return readiness(service)[0] == 200


async def test_a_stream_that_was_deleted_is_told_of_and_no_id_of_it_is_given_again(
    cluster: Cluster, start_instances: StartInstances, stream: str, topic: str
) -> None:
    one, other = await asyncio.to_thread(start_instances, cluster.urls, 2, append_timeout_seconds=1)
    before = []
    for number in range(6):
        before += await asyncio.to_thread((one, other)[number % 2].publish, topic, number)
    async with contextlib.AsyncExitStack() as stack:
        consumers = [
            await stack.enter_async_context(transport.open(one, topic, after=before[1]))
            for transport in TRANSPORTS
        ]
        for consumer in consumers:
            await consumer.messages(5)
        assert (await cluster.ask(f"STREAM.DELETE.{stream}"))["success"]
        for instance in (one, other):
            await asyncio.to_thread(wait_until, lambda: not _is_ready(instance))  # noqa: B023  # in this turn
            _, checks = await asyncio.to_thread(readiness, instance)
            assert "stream not found" in checks["log"]
        answer = await asyncio.to_thread(
            plain.post, one.topic(topic), content=b'"nowhere"', headers=JSON
        )
        assert answer.status_code == 503
        # It is created at the start of an instance, and never silently.
        assert await asyncio.to_thread(other.stop) == 0
        await asyncio.to_thread(other.start)
        after = []
        for number in range(6):
            after += await asyncio.to_thread((one, other)[number % 2].publish, topic, -number)
        assert not set(before) & set(after)
        assert [each.partition("-")[2] for each in after[::2]] == list("123456")
        ends = [await consumer.next("end") for consumer in consumers]
        assert [end["reason"] for end in ends] == ["log_failure"] * 3
    await asyncio.to_thread(wait_until, lambda: _is_ready(one))
    for transport, instance in zip(TRANSPORTS, (one, other, one), strict=True):
        async with transport.open(instance, topic, after=before[-1]) as consumer:
            assert (await consumer.next())["event"] == "reset"
            assert [each["id"] for each in await consumer.messages(6)] == after[::2]
    for instance in (one, other):
        await asyncio.to_thread(instance.wait_for_metric, 0, ACTIVE)
        assert await asyncio.to_thread(instance.metric, UNACCOUNTED) == 0


async def test_without_a_majority_streams_end_in_time_and_all_goes_on_once_it_is_back(
    cluster: Cluster, start_instances: StartInstances, stream: str, topic: str
) -> None:
    (service,) = await asyncio.to_thread(
        start_instances, cluster.urls, append_timeout_seconds=1, log_lost_seconds=4
    )
    ids = (await asyncio.to_thread(service.publish, topic, 0))[:1]
    async with contextlib.AsyncExitStack() as stack:
        consumers = [
            await stack.enter_async_context(transport.open(service, topic, after="earliest"))
            for transport in TRANSPORTS
        ]
        for consumer in consumers:
            assert (await consumer.next("message"))["id"] == ids[0]
        for name in ("n1", "n3"):
            cluster.kill(name)
        answer = await asyncio.to_thread(
            plain.post, service.topic(topic), content=b"1", headers=JSON
        )
        assert answer.status_code == 503
        for consumer in consumers:
            end = await consumer.next("end")
            assert (end["reason"], end["id"], end["reconnect"]) == ("log_failure", ids[0], True)
    assert (await asyncio.to_thread(plain.get, service.topic(topic))).status_code == 503
    for name in ("n1", "n3"):
        cluster.start(name)
    await cluster.wait_until_whole(stream)
    await asyncio.to_thread(wait_until, lambda: _is_ready(service))
    last = (await asyncio.to_thread(service.publish, topic, 2))[0]
    # Servers take messages a moment before they answer questions.
    replay = f"{service.topic(topic)}?until=latest"
    await asyncio.to_thread(wait_until, lambda: plain.get(replay).status_code == 200)
    for transport in TRANSPORTS:
        async with transport.open(service, topic, after=ids[0]) as consumer:
            assert (await consumer.next())["event"] == "resumed"
            # What was answered with "may have been kept" is there or not.
            messages = [await consumer.next("message")]
            while messages[-1]["id"] != last:
                messages.append(await consumer.next("message"))
            assert [each["data"] for each in messages] in ([1, 2], [2])


async def test_servers_without_room_refuse_messages_until_there_is_room_again(
    tmp_path: Path, start_instances: StartInstances, stream: str, topic: str
) -> None:
    with one_server(tmp_path / "nats", limits="max_file_store: 4MB") as url:
        (service,) = await asyncio.to_thread(
            start_instances, url, jetstream_replicas=1, append_timeout_seconds=1
        )
        kept: list[str] = []

        def fill() -> str:
            while True:
                answer = plain.post(
                    service.topic(topic), content=b'"%s"' % (b"x" * 200_000), headers=JSON
                )
                if answer.status_code != 202:
                    assert answer.status_code == 503
                    text: str = answer.json()["detail"]
                    return text
                kept.append(answer.json()["ids"]["last"])

        text = await asyncio.to_thread(fill)
        assert NOT in text
        assert "insufficient resources" in text
        # What there is can be read.
        ways = TRANSPORTS[0].open(service, topic, after=kept[0], until="latest")
        async with ways as consumer:
            assert [r["id"] for r in await consumer.rest() if "data" in r] == kept[1:]
        await ask([url], f"STREAM.PURGE.{stream}", b'{"keep": 2}')
        refilled = (await asyncio.to_thread(service.publish, topic, "again"))[0]
        assert refilled.partition("-")[2] == str(len(kept) + 1)
        async with TRANSPORTS[0].open(service, topic, after=kept[-3]) as consumer:
            assert (await consumer.next())["event"] == "resumed"
            assert [each["id"] for each in await consumer.messages(3)] == [*kept[-2:], refilled]
        assert await asyncio.to_thread(service.stop) == 0


async def test_an_instance_that_is_started_with_its_servers_waits_until_they_have_a_leader(
    tmp_path: Path, start_instances: StartInstances, topic: str
) -> None:
    with Cluster(tmp_path / "cluster") as cluster:
        # A majority is missing.
        for name in ("n2", "n3"):
            cluster.kill(name)
        starting = asyncio.create_task(asyncio.to_thread(start_instances, cluster.urls))
        await asyncio.sleep(4)
        assert not starting.done()
        for name in ("n2", "n3"):
            cluster.start(name)
        (service,) = await starting
        await asyncio.to_thread(service.publish, topic, "kept")
        assert await asyncio.to_thread(service.stop) == 0
