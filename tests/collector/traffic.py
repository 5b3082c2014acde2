"""Something of all that Riptide records, and in the end nothing that is still open."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests import plain
from tests.contract.consumers import TRANSPORTS, numbered
from tests.contract.raw import RawStream

if TYPE_CHECKING:
    from tests.contract.consumers import Transport
    from tests.service import Service

# For the service that serves it: a stalled reader is dropped messages, and topics are a label.
SETTINGS = {"ring_messages": 600, "slow_consumer": "drop_oldest", "topic_labels": "orders,test"}
MESSAGES = 40


async def make_traffic(service: Service, topic: str) -> None:
    """Publish and consume in good and bad ways, over all transports."""
    for transport in TRANSPORTS:
        await _come_and_come_back(service, topic, transport)
        vanishing = await asyncio.to_thread(RawStream, service, topic, transport.name)
        await asyncio.to_thread(vanishing.wait_until_open)
        vanishing.reset()
    refused = plain.post(service.topic(topic), content=b"not JSON")
    assert refused.status_code == 415
    assert plain.get(service.topic(topic), params={"after": "nonsense"}).status_code == 400
    async with plain.connect(service.topic(topic).replace("http", "ws", 1)) as client:
        # A hello is text: this one is an error of its connection.
        await client.send(b"binary")
        await client.wait_closed()
    await asyncio.to_thread(_stall, service, f"{topic}-stalled")
    await asyncio.to_thread(service.wait_for_metric, 0, "riptide_streaming_active_connections")


async def _come_and_come_back(service: Service, topic: str, transport: Transport) -> None:
    async with transport.open(service, topic) as consumer:
        await consumer.next("opened")
        await asyncio.to_thread(service.publish, topic, *numbered(MESSAGES))
        last = (await consumer.messages(MESSAGES))[-1]
    await asyncio.to_thread(service.publish, topic, *numbered(MESSAGES))
    async with transport.open(service, topic, after=last["id"], until="latest") as consumer:
        assert len([record for record in await consumer.rest() if "data" in record]) == MESSAGES


def _stall(service: Service, topic: str) -> None:
    with RawStream(service, topic, "sse") as stalled:
        stalled.wait_until_open()
        for _ in range(20):
            service.publish(topic, *["x" * 1000] * 500)
        service.publish(topic, "the last")
        stalled.read_until(b'"the last"')
        assert stalled.missed()
