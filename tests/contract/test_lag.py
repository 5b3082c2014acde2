"""How far behind a consumer may be, and that it shows before anything is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.contract.raw import BACKPRESSURE, BATCH, WAITS, RawStream

if TYPE_CHECKING:
    from tests.conftest import StartService
    from tests.contract.consumers import Transport
    from tests.service import Service

# More than a service without a processor makes its consumers wait.
MAX_LAG_S = 3
DROPPED = "riptide_streaming_messages_dropped_total"
LAG = "riptide_streaming_consumer_lag"
BEHIND = "riptide_streaming_consumers_behind"
AGE = "riptide_streaming_oldest_undelivered_age_seconds"
SHORT_LAG_S = 1
# Messages that a consumer has missed when it comes back, more than any kernel keeps for it.
HISTORY = 5_000
# Larger than what these tests publish: the ring loses nothing.
LARGE_RING = {"ring_messages": 100_000, "ring_bytes": 500_000_000}


def _publish_history(service: Service, topic: str) -> str:
    """Publish a message, and then many more; return the id of the first."""
    first: str = service.publish(topic, "the first")[0]
    for start in range(0, HISTORY, BATCH):
        service.publish(topic, *[f"history {n} {'x' * 1000}" for n in range(start, start + BATCH)])
    return first


async def test_a_slow_consumer_shows_in_waits_lag_and_backpressure_before_it_loses_anything(
    start_service: StartService, transport: Transport, topic: str
) -> None:
    service = start_service(log="memory", ring_messages=5_000, slow_consumer="drop_oldest")
    with RawStream(service, topic, transport.name) as slow:
        slow.wait_until_open()
        slow.stall()
        assert service.metric(LAG) > 0
        # A wait counts as soon as it begins, its time as soon as it ends.
        ended = service.metric(WAITS, protocol=transport.name)
        begun = service.metric(BACKPRESSURE, protocol=transport.name)
        assert begun == ended + 1, "it still waits"
        # It reads some, so that a write goes through, and stalls again.
        slow.data = slow.socket.recv(16 * 1024)
        while service.metric(WAITS, protocol=transport.name) == ended:
            slow.data = slow.socket.recv(256 * 1024)
        assert service.metric(DROPPED) == 0
        slow.publish(20_000)
        service.publish(topic, "the last")
        slow.read_until(b'"the last"')
        assert slow.missed() > 0
        dropped = service.metric(DROPPED, protocol=transport.name, reason="slow_consumer")
        assert dropped == slow.missed()


@pytest.mark.parametrize("policy", ["disconnect", "drop_oldest"])
async def test_a_batch_larger_than_the_ring_reaches_whoever_keeps_up(
    start_service: StartService, transport: Transport, topic: str, policy: str
) -> None:
    service = start_service(log="memory", ring_messages=10, slow_consumer=policy)
    async with transport.open(service, topic) as consumer:
        await consumer.next("opened")
        service.publish(topic, 0)
        assert [record["data"] for record in await consumer.messages(1)] == [0]
        service.publish(topic, *range(1, 2001))
        service.publish(topic, 2001)
        assert [record["data"] for record in await consumer.messages(2001)] == [*range(1, 2002)]
    assert service.metric(DROPPED) == 0
    closed = "riptide_streaming_connections_closed_total"
    assert service.metric(closed, reason="slow_consumer") == 0


@pytest.mark.parametrize(
    ("policy", "reason"), [("drop_oldest", "slow_consumer"), ("latest", "conflated")]
)
async def test_a_consumer_that_lags_too_long_skips_though_the_ring_has_all_of_it(
    start_service: StartService, transport: Transport, topic: str, policy: str, reason: str
) -> None:
    service = start_service(
        log="memory",
        slow_consumer=f"other.*=disconnect,*={policy}",
        max_lag_seconds=MAX_LAG_S,
        **LARGE_RING,
    )
    with RawStream(service, topic, transport.name) as slow:
        slow.wait_until_open()
        slow.stall()
        # Some that only the ring has.
        slow.publish(BATCH)
        # All that waits, waits for longer than that.
        await asyncio.sleep(MAX_LAG_S + 0.1)
        service.publish(topic, "the last")
        slow.read_until(b'"the last"')
        taken, told = slow.messages(), slow.missed()
    assert told > 0
    assert taken + told == slow.published + 1
    service.wait_for_metric(0, "riptide_streaming_active_connections")
    assert service.metric(DROPPED, protocol=transport.name, reason=reason) == told
    assert service.metric("riptide_streaming_messages_unaccounted") == 0


async def test_a_consumer_that_lags_too_long_is_told_so_and_resumes_without_loss(
    start_service: StartService, transport: Transport, topic: str
) -> None:
    service = start_service(max_lag_seconds=MAX_LAG_S, **LARGE_RING)
    with RawStream(service, topic, transport.name) as slow:
        slow.wait_until_open()
        slow.stall()
        # All that waits, waits for longer than that.
        await asyncio.sleep(MAX_LAG_S + 0.1)
        slow.read_until(b"the client is more than %d s behind" % MAX_LAG_S)
        last_id, taken = slow.last_message_id(), slow.messages()
    assert service.metric(DROPPED) == 0
    async with transport.open(service, topic, after=last_id, until="latest") as consumer:
        records = await consumer.rest()
    assert records[0]["event"] == "resumed"
    assert sum("data" in record for record in records) == slow.published - taken


async def test_a_consumer_that_resumes_is_seen_in_seconds_of_lag_until_it_has_caught_up(
    start_service: StartService, transport: Transport, topic: str
) -> None:
    service = start_service()
    query = f"?after={_publish_history(service, topic)}"
    with RawStream(service, topic, transport.name, query=query) as slow:
        slow.read_until(b'"resumed"')
        service.wait_for_metric(1, BEHIND, at_least="second")
        assert service.metric(AGE) >= 1
        assert service.metric(BEHIND, at_least="hour") == 0
        service.publish(topic, "the last")
        slow.read_until(b'"the last"')
        service.wait_for_metric(0, BEHIND, at_least="second")
        assert service.metric(AGE) < 1


async def test_a_consumer_that_resumes_and_stays_too_slow_is_cut_off_again(
    start_service: StartService, transport: Transport, topic: str
) -> None:
    service = start_service(max_lag_seconds=SHORT_LAG_S)
    query = f"?after={_publish_history(service, topic)}"
    for _ in range(2):
        with RawStream(service, topic, transport.name, query=query) as slow:
            slow.read_until(b'"resumed"')
            slow.read_less_than_is_published(b"the client is more than %d s behind" % SHORT_LAG_S)
            query = f"?after={slow.last_message_id()}"
    service.wait_for_metric(0, "riptide_streaming_active_connections")
    closed = "riptide_streaming_connections_closed_total"
    assert service.metric(closed, protocol=transport.name, reason="slow_consumer") == 2
    assert service.metric(DROPPED) == 0
    assert service.metric("riptide_streaming_messages_unaccounted") == 0


@pytest.mark.parametrize(
    ("policy", "reason"), [("drop_oldest", "slow_consumer"), ("latest", "conflated")]
)
async def test_a_consumer_that_resumes_and_stays_too_slow_skips(
    start_service: StartService, transport: Transport, topic: str, policy: str, reason: str
) -> None:
    service = start_service(slow_consumer=policy, max_lag_seconds=SHORT_LAG_S)
    query = f"?after={_publish_history(service, topic)}"
    with RawStream(service, topic, transport.name, query=query) as slow:
        slow.read_until(b'"resumed"')
        slow.read_less_than_is_published(b'"reason":"%b"' % reason.encode())
        service.publish(topic, "the last")
        slow.read_until(b'"the last"')
        taken, told = slow.messages(), slow.missed()
    assert told > 0
    assert taken + told == HISTORY + slow.published + 1
    service.wait_for_metric(0, "riptide_streaming_active_connections")
    assert service.metric(DROPPED, protocol=transport.name, reason=reason) == told
    assert service.metric("riptide_streaming_messages_unaccounted") == 0


async def test_a_replay_and_a_first_reading_that_gains_ground_are_never_too_slow(
    start_service: StartService, transport: Transport, topic: str
) -> None:
    service = start_service(max_lag_seconds=0.2)
    _publish_history(service, topic)
    service.publish(topic, "the last")
    for query in ("?until=latest", "?after=earliest"):
        with RawStream(service, topic, transport.name, query=query) as slow:
            # Read for many times as long as a consumer may be behind.
            for _ in range(20):
                slow.data += slow.socket.recv(64 * 1024)
                await asyncio.sleep(0.1)
            slow.read_until(b'"the last"')
            assert b'"missed"' not in slow.data
            assert slow.messages() == HISTORY + 2


async def test_each_topic_has_the_policy_of_the_first_pattern_that_fits(
    start_service: StartService, transport: Transport
) -> None:
    service = start_service(
        log="memory",
        # No batch is more than the ring holds.
        ring_messages=BATCH,
        slow_consumer="prices.*=latest,logs.*=drop_oldest,*=disconnect",
    )
    ways = {"prices.eur": b'"reason":"conflated"', "logs.app": b'"reason":"slow_consumer"'}
    ways["orders"] = b'"event":"end"'
    for topic, way in ways.items():
        with RawStream(service, topic, transport.name) as slow:
            slow.wait_until_open()
            slow.stall()
            slow.publish(1_000)
            service.publish(topic, "the last")
            slow.read_until(way)
            if topic != "orders":
                slow.read_until(b'"the last"')
