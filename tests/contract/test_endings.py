"""How streams end, what the client is told, and what is recorded."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest

from tests.contract.consumers import RefusedError, SseTransport, numbered
from tests.contract.raw import BATCH, RawStream

if TYPE_CHECKING:
    from tests.conftest import StartService
    from tests.contract.consumers import Transport

CLOSED = "riptide_streaming_connections_closed_total"
SENT = "riptide_streaming_messages_sent_total"
# Long enough for all that a test does within it, however slow the machine is.
DRAIN_S = 60
DROPPED = "riptide_streaming_messages_dropped_total"


async def test_a_signal_gives_each_stream_its_last_word_with_cursor_and_retry(
    start_service: StartService, transport: Transport, topic: str
) -> None:
    service = start_service(log="memory", drain_seconds=DRAIN_S)
    _, last = service.publish(topic, "one")
    async with transport.open(service, topic) as consumer:
        await consumer.next("opened")
        assert service.process is not None
        service.process.send_signal(signal.SIGTERM)
        (end,) = await consumer.rest()
    assert (end["event"], end["reason"], end["reconnect"]) == ("end", "draining", True)
    assert end["id"] == last
    assert end["retry"] > 0
    assert consumer.close_code in {None, 1012}
    assert await asyncio.to_thread(service.stop) == 0


async def test_new_streams_are_refused_while_draining(
    start_service: StartService, transport: Transport, topic: str
) -> None:
    service = start_service(log="memory", drain_seconds=DRAIN_S)
    # A client that takes nothing keeps the drain going until its window is over.
    with RawStream(service, topic, transport.name) as stalled:
        stalled.wait_until_open()
        stalled.stall()
        assert service.process is not None
        service.process.send_signal(signal.SIGTERM)
        service.wait_for_metric(1, "riptide_draining")
        with pytest.raises(RefusedError) as refusal:
            async with transport.open(service, topic):
                pass
    assert refusal.value.status == 503
    assert refusal.value.problem["type"] == "urn:riptide:problem:draining"
    assert int(refusal.value.headers["retry-after"]) > 0
    assert await asyncio.to_thread(service.stop) == 0


async def test_a_client_that_closes_is_recorded_once_as_closed(
    start_service: StartService, transport: Transport, topic: str
) -> None:
    service = start_service(log="memory")
    service.publish(topic, *numbered(3))
    async with transport.open(service, topic, after="earliest") as consumer:
        await consumer.messages(3)
        assert service.metric("riptide_streaming_active_connections", protocol=transport.name) == 1
    service.wait_for_metric(1, CLOSED, protocol=transport.name, reason="client_closed")
    samples = service.metrics()
    assert sum(value for name, value in samples.items() if name.startswith(CLOSED)) == 1
    label = f'protocol="{transport.name}"'
    assert samples[f"riptide_streaming_active_connections{{{label}}}"] == 0
    assert samples[f"riptide_streaming_total_connections{{{label}}}"] == 1
    assert samples[f"riptide_streaming_connection_duration_seconds_count{{{label}}}"] == 1
    assert samples[f"{SENT}{{{label}}}"] == 3
    assert samples["riptide_streaming_error_rate"] == 0


async def test_a_client_that_vanishes_is_recorded_once_and_nothing_later_counts_as_sent(
    start_service: StartService, transport: Transport, topic: str
) -> None:
    service = start_service(log="memory")
    with RawStream(service, topic, transport.name) as stream:
        stream.wait_until_open()
        service.publish(topic, "seen")
        stream.read_until(b'"seen"')
        stream.reset()
    service.wait_for_metric(1, CLOSED, protocol=transport.name, reason="client_vanished")
    service.publish(topic, *numbered(100))
    assert service.metric(CLOSED) == 1
    assert service.metric(SENT) == 1
    assert service.metric("riptide_streaming_active_connections") == 0
    assert service.metric("riptide_streaming_messages_unaccounted") == 0


async def test_what_a_vanished_client_was_not_given_does_not_count_as_sent(
    start_service: StartService, transport: Transport, topic: str
) -> None:
    service = start_service(log="memory", ring_messages=100_000, ring_bytes=200_000_000)
    with RawStream(service, topic, transport.name) as stream:
        stream.wait_until_open()
        # The socket is full: the service is blocked in a write, the rest is queued.
        stream.stall()
        stream.publish(BATCH)
        queued = service.metric("riptide_streaming_queued_messages")
        sent = service.metric(SENT)
        assert queued > 0
        assert sent + queued == stream.published
        stream.reset()
    service.wait_for_metric(0, "riptide_streaming_active_connections")
    assert service.metric(SENT) == sent
    assert service.metric(CLOSED, reason="client_vanished") == 1
    assert service.metric("riptide_streaming_messages_unaccounted") == 0


async def test_a_client_that_takes_nothing_is_cut_off_after_the_write_timeout(
    start_service: StartService, transport: Transport, topic: str
) -> None:
    service = start_service(
        log="memory", write_timeout_seconds=0.5, ring_messages=100_000, ring_bytes=200_000_000
    )
    with RawStream(service, topic, transport.name) as stream:
        stream.wait_until_open()
        closed = {"protocol": transport.name, "reason": "client_stalled"}
        stream.publish_until(lambda: service.metric(CLOSED, **closed) == 1)
    assert service.metric("riptide_streaming_active_connections") == 0
    assert service.metric("riptide_streaming_errors_total", error_type="slow_consumer") == 1
    assert service.metric("riptide_streaming_backpressure_events_total") >= 1
    assert service.metric("riptide_streaming_error_rate") == 1


async def test_a_slow_consumer_is_disconnected_and_resumes_without_loss(
    start_service: StartService, transport: Transport, topic: str
) -> None:
    service = start_service(ring_messages=600)
    with RawStream(service, topic, transport.name) as slow:
        slow.wait_until_open()
        slow.stall()
        slow.publish(2_000)
        slow.read_until(b'"reason":"slow_consumer"')
        last_id = slow.last_message_id()
        taken = slow.messages()
    service.wait_for_metric(1, CLOSED, protocol=transport.name, reason="slow_consumer")
    assert service.metric(SENT) == taken
    assert 0 < taken < slow.published
    async with transport.open(service, topic, after=last_id, until="latest") as consumer:
        records = await consumer.rest()
    assert records[0]["event"] == "resumed"
    numbers = [int(record["data"][:6]) for record in records if "data" in record]
    assert numbers == list(range(taken, slow.published))
    assert service.metric(DROPPED) == 0


@pytest.mark.parametrize(
    ("policy", "reason"), [("drop_oldest", "slow_consumer"), ("latest", "conflated")]
)
async def test_a_slow_consumer_is_told_how_many_messages_were_dropped(
    start_service: StartService, transport: Transport, topic: str, policy: str, reason: str
) -> None:
    service = start_service(log="memory", ring_messages=600, slow_consumer=policy)
    with RawStream(service, topic, transport.name) as slow:
        slow.wait_until_open()
        slow.stall()
        slow.publish(2_000)
        service.publish(topic, "the last")
        slow.read_until(b'"the last"')
        taken, told = slow.messages(), slow.missed()
    assert told > 0
    assert taken + told == slow.published + 1
    service.wait_for_metric(0, "riptide_streaming_active_connections")
    assert service.metric(SENT, protocol=transport.name) == taken
    assert service.metric(DROPPED, protocol=transport.name, reason=reason) == told
    assert service.metric("riptide_streaming_messages_unaccounted") == 0
    ratio = taken / (taken + told)
    assert service.metric("riptide_streaming_delivery_ratio") == pytest.approx(ratio)


async def test_an_event_source_that_reconnects_while_draining_is_told_to_come_back(
    start_service: StartService, topic: str
) -> None:
    service = start_service(log="memory", drain_seconds=DRAIN_S)
    first, _ = service.publish(topic, "one")
    with RawStream(service, topic, "sse") as stalled:
        stalled.wait_until_open()
        stalled.stall()
        assert service.process is not None
        service.process.send_signal(signal.SIGTERM)
        service.wait_for_metric(1, "riptide_draining")
        # A 503 would end an EventSource for good.
        async with SseTransport().open(service, topic, after=first) as consumer:
            (end,) = await consumer.rest()
        refused = service.metric(
            "riptide_streaming_connections_rejected_total", protocol="sse", reason="draining"
        )
    assert (end["event"], end["reason"], end["reconnect"]) == ("end", "draining", True)
    assert end["id"] == first
    assert end["retry"] > 0
    assert refused == 1
    assert await asyncio.to_thread(service.stop) == 0
