"""The metrics of instances that share a log: what each says of itself, and all of them together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from benchmarks.endurance.cluster.questions import ask
from tests.contract.consumers import TRANSPORTS
from tests.nats_servers import server
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.cluster.conftest import StartInstances
    from tests.nats_servers import Cluster
    from tests.service import Service

FEED_LATENCY = "riptide_log_feed_latency_seconds_count"
RECORDS = "riptide_log_records_total"
WRITES = "riptide_log_write_duration_seconds_count"
# What one instance publishes, and how many records that takes at most.
BATCH, BATCHES = 10, 6


def _total(instances: list[Service], name: str, **labels: str) -> float:
    return sum(instance.metric(name, **labels) for instance in instances)


async def test_what_instances_count_adds_up_to_what_clients_have_counted(
    cluster: Cluster, start_instances: StartInstances, topic: str
) -> None:
    instances = start_instances(cluster.urls, 3)
    one, other, idle = instances
    transports = list(TRANSPORTS)
    async with (
        transports[0].open(one, topic) as first,
        transports[1].open(other, topic) as second,
        transports[2].open(other, topic) as third,
    ):
        consumers = [first, second, third]
        for consumer in consumers:
            await consumer.next("opened")
        for number in range(BATCHES):
            batch = [f"{number}.{n}" for n in range(BATCH)]
            await asyncio.to_thread((one, other)[number % 2].publish, topic, *batch)
        got = [len(await consumer.messages(BATCH * BATCHES)) for consumer in consumers]
    offered = BATCH * BATCHES

    def total(name: str, **labels: str) -> float:
        return _total(instances, name, **labels)

    await asyncio.to_thread(
        wait_until,
        lambda: total("riptide_streaming_active_connections") == 0,
        lambda: "connections are still open",
    )
    assert total("riptide_streaming_messages_published_total", outcome="accepted") == offered
    assert total("riptide_streaming_messages_sent_total") == sum(got) == 3 * offered
    assert total("riptide_streaming_messages_unaccounted") == 0
    # Each publish waited for its answer: each of them is a record.
    assert total(RECORDS, outcome="stored") + total(RECORDS, outcome="recovered") == BATCHES
    assert total(RECORDS, outcome="stored") == total(WRITES)
    assert total(RECORDS, outcome="uncertain") + total(RECORDS, outcome="failed") == 0
    # Both that have consumers are told of everything, whoever accepted it.
    for instance in (one, other):
        assert instance.metric(FEED_LATENCY, origin="here") == offered / 2
        assert instance.metric(FEED_LATENCY, origin="elsewhere") == offered / 2
    assert idle.metric(FEED_LATENCY) == 0
    assert {each.metric("riptide_log_size_bytes") for each in instances} != {0}


async def test_clocks_of_one_machine_agree_within_what_each_instance_says(
    cluster: Cluster, three_instances: list[Service]
) -> None:
    await cluster.wait_for_leader("shared")
    for instance in three_instances:

        def uncertainty_s(instance: Service = instance) -> float:
            return instance.metric("riptide_log_clock_uncertainty_seconds")

        found_s = await asyncio.to_thread(wait_until, uncertainty_s)
        offset_s = instance.metric("riptide_log_clock_offset_seconds")
        # The two are of two scrapes, and a quicker answer may have come between.
        assert abs(offset_s) <= 2 * found_s + 0.01


async def test_an_instance_that_has_lost_the_servers_says_how_long_it_knows_of_nothing_new(
    tmp_path: Path, start_instances: StartInstances, topic: str
) -> None:
    with server(tmp_path / "nats") as nats:
        (instance,) = start_instances(nats.url, jetstream_replicas=1)
        async with TRANSPORTS[0].open(instance, topic) as consumer:
            await consumer.next("opened")
            nats.stop()

            def lag_s() -> bool:
                return instance.metric("riptide_log_feed_lag_seconds") > 3

            await asyncio.to_thread(wait_until, lag_s)
            assert instance.metric("riptide_log_connected") == 0
            nats.start()
            first, _ = await asyncio.to_thread(instance.publish, topic, "after")
            assert (await consumer.next("message"))["id"] == first

            def is_back() -> bool:
                return instance.metric("riptide_log_feed_lag_seconds") < 3

            await asyncio.to_thread(wait_until, is_back)
            assert instance.metric("riptide_log_reconnects_total") == 1
            assert instance.metric("riptide_log_resets_total") == 0


async def test_a_stream_that_was_created_anew_is_a_reset(
    cluster: Cluster, start_instances: StartInstances, stream: str, topic: str
) -> None:
    instances = start_instances(cluster.urls, 2)
    for instance in instances:
        await asyncio.to_thread(instance.publish, topic, "before")
    await ask([cluster.urls.partition(",")[0]], f"STREAM.DELETE.{stream}")
    # An instance that starts creates it.
    start_instances(cluster.urls)
    for instance in instances:
        await asyncio.to_thread(instance.wait_for_metric, 1, "riptide_log_resets_total")
