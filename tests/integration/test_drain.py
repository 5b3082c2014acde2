"""A shutdown with many streams open."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from typing import TYPE_CHECKING

import httpx2

from tests.contract.consumers import TRANSPORTS

if TYPE_CHECKING:
    from tests.conftest import StartService
    from tests.contract.consumers import Consumer, Record

STREAMS = 100
WINDOW_S = 6


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
        everyone = [consumer for some in consumers.values() for consumer in some]
        endings = [asyncio.create_task(consumer.rest()) for consumer in everyone]
        assert service.process is not None
        service.process.send_signal(signal.SIGTERM)
        signalled = time.monotonic()
        metrics = ""
        async with httpx2.AsyncClient() as client:
            ready = await client.get(f"{service.url}/healthz/ready")
            live = await client.get(f"{service.url}/healthz/live")
            while any(not task.done() for task in endings):
                with contextlib.suppress(httpx2.TransportError):
                    metrics = (await client.get(f"{service.url}/metrics")).text
                await asyncio.sleep(0.1)
        records: list[list[Record]] = await asyncio.gather(*endings)
        assert await asyncio.to_thread(service.process.wait, 20) == 0
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
    # What the last scrape before the end saw.
    counted = [
        float(line.rpartition(" ")[2])
        for line in metrics.split("\n")
        if line.startswith("riptide_streaming_connections_closed_total{")
        and 'reason="draining"' in line
    ]
    assert len(counted) == 3
    assert sum(counted) > STREAMS
