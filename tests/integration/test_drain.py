"""A shutdown with many streams open."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from typing import TYPE_CHECKING

from tests import plain
from tests.contract.consumers import TRANSPORTS
from tests.contract.raw import RawStream

if TYPE_CHECKING:
    from tests.conftest import StartService
    from tests.contract.consumers import Consumer, Record

CLOSED = "riptide_streaming_connections_closed_total"
STREAMS = 100
# Ten times what it takes to end all streams one after another.
WINDOW_S = 60


async def test_sigterm_gives_a_hundred_streams_of_each_protocol_their_last_word(
    start_service: StartService, topic: str
) -> None:
    service = start_service(heartbeat_seconds=300, drain_seconds=WINDOW_S)
    _, last = service.publish(topic, "before")
    async with contextlib.AsyncExitStack() as stack:
        consumers: dict[str, list[Consumer]] = {transport.name: [] for transport in TRANSPORTS}
        for transport in TRANSPORTS:
            for _ in range(STREAMS):
                consumer = await stack.enter_async_context(transport.open(service, topic))
                await consumer.next("opened")
                consumers[transport.name].append(consumer)
        assert service.metric("riptide_streaming_active_connections") == 3 * STREAMS
        # One that takes nothing keeps the drain going for as long as it is looked at.
        stalled = stack.enter_context(RawStream(service, "stalled", "ndjson"))
        await asyncio.to_thread(stalled.wait_until_open)
        await asyncio.to_thread(stalled.stall)
        everyone = [consumer for some in consumers.values() for consumer in some]
        endings = [asyncio.create_task(consumer.rest()) for consumer in everyone]
        assert service.process is not None
        service.process.send_signal(signal.SIGTERM)
        signalled = time.monotonic()
        await asyncio.to_thread(service.wait_for_metric, 1, "riptide_draining")
        async with plain.async_client() as client:
            ready = await client.get(f"{service.url}/healthz/ready")
            live = await client.get(f"{service.url}/healthz/live")
        records: list[list[Record]] = await asyncio.gather(*endings)
        counted = {
            transport.name: await asyncio.to_thread(
                service.metric, CLOSED, protocol=transport.name, reason="draining"
            )
            for transport in TRANSPORTS
        }
        stalled.reset()
        assert await asyncio.to_thread(service.stop) == 0
        # Not a measure of speed: the window is a promise.
        assert time.monotonic() - signalled < WINDOW_S + 2
    assert (ready.status_code, live.status_code) == (503, 200)
    assert ready.json()["draining"] == "yes"
    retries = set()
    for said in records:
        # Where opening them all took long, the first had a heartbeat by then.
        (end,) = [record for record in said if record["event"] != "heartbeat"]
        assert (end["event"], end["reason"], end["id"]) == ("end", "draining", last)
        retries.add(end["retry"])
    assert len(retries) > STREAMS, "the retries are not spread"
    assert {consumer.close_code for consumer in consumers["websocket"]} == {1012}
    assert counted == {transport.name: STREAMS for transport in TRANSPORTS}
