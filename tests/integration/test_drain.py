"""A shutdown with many streams open, and one because the terminal is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests import plain
from tests.contract.consumers import TRANSPORTS
from tests.contract.raw import RawStream
from tests.programs import require
from tests.service import RIPTIDE, Service
from tests.waiting import DEADLINE_S, wait_until
from tests.worker_processes import children, targets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_terminal_that_goes_drains_the_service_however_often_it_says_so(
    start_service: StartService, topic: str, workers: int
) -> None:
    service = start_service(log="memory", workers=workers, drain_seconds=WINDOW_S)
    async with contextlib.AsyncExitStack() as stack:
        consumers = [
            await stack.enter_async_context(transport.open(service, topic))
            for transport in TRANSPORTS
        ]
        for consumer in consumers:
            await consumer.next("opened")
        assert service.process is not None
        # A shell that ends and the system that notices send one each.
        service.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(wait_until, lambda: "draining" in service.log)
        service.process.send_signal(signal.SIGHUP)
        for consumer in consumers:
            assert (await consumer.next("end"))["reason"] == "draining"
    assert await asyncio.to_thread(service.process.wait, WINDOW_S) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_the_second_signal_ends_the_service_without_the_drain(
    start_service: StartService, topic: str, workers: int
) -> None:
    service = start_service(log="memory", workers=workers, drain_seconds=10 * DEADLINE_S)
    assert service.process is not None
    with _stalled(service, topic, workers):
        for _ in range(2):
            service.process.send_signal(signal.SIGTERM)
            wait_until(lambda: service.log.count("draining") == workers)
        assert service.process.wait(DEADLINE_S) == 0


def test_workers_drain_if_each_process_of_the_service_gets_the_signal(
    start_service: StartService, topic: str
) -> None:
    service = start_service(log="memory", workers=2, drain_seconds=10 * DEADLINE_S)
    with _stalled(service, topic, 2) as streams:
        # As systemd does it. The supervisor passes its own signal on.
        for pid in children(service.pid):
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: service.log.count("draining") == 2)
        os.kill(service.pid, signal.SIGTERM)
        for stream in streams:
            stream.read_until(b'"draining"')
    assert service.process is not None
    assert service.process.wait(DEADLINE_S) == 0


@contextlib.contextmanager
def _stalled(service: Service, topic: str, workers: int) -> Iterator[list[RawStream]]:
    """Open streams of which at least one cannot take its last word yet."""
    wait_until(lambda: len(targets(service)) == workers)
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(RawStream(service, topic, "ndjson")) for _ in range(6)]
        for stream in streams:
            stream.wait_until_open()
        # Less than a ring holds, and more than the kernel takes.
        for _ in range(8):
            service.publish(topic, *["x" * 50_000] * 40)
        yield streams


@pytest.mark.parametrize("workers", [1, 2])
def test_a_service_that_is_to_outlive_its_terminal_does(tmp_path: Path, workers: int) -> None:
    service = Service(tmp_path, {"log": "memory", "workers": workers})
    service.command = (require("nohup"), RIPTIDE, "serve")
    service.start()
    assert service.process is not None
    service.process.send_signal(signal.SIGHUP)
    # Signals are handled in their order: one that drains would have begun by now.
    assert plain.get(f"{service.url}/healthz/ready").status_code == 200
    service.publish("a", "message")
    assert "draining" not in service.log
    assert service.stop() == 0
