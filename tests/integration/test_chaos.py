"""Consumers that join, lag, vanish and come back, all at once: in the end every message is
accounted for, and the service's counts are those of its clients."""

from __future__ import annotations

import asyncio
import random
import re
from typing import TYPE_CHECKING

import pytest

from tests.contract.consumers import TRANSPORTS
from tests.contract.raw import RawStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import StartService
    from tests.contract.consumers import Transport
    from tests.service import Service

BATCHES = 90
BATCH = 50
STAYERS = 6
LEAVERS = 8
LAST = "the last message"
# Much more than sockets hold for a client that does not read.
PADDING = "x" * 8000


def _sequence(message_id: str) -> int:
    return int(message_id.partition("-")[2])


class Account:
    """What a client saw: messages it got, messages it was told it missed, and its cursor."""

    def __init__(self) -> None:
        self.start = self.cursor = 0
        self.received = self.missed = 0

    async def follow(
        self, records: AsyncIterator[dict[str, object]], wake: asyncio.Event | None
    ) -> None:
        """Read until the last message; fall asleep in the middle if there is a way to be woken."""
        async for record in records:
            sequence = _sequence(str(record["id"]))
            if record.get("event") == "opened":
                self.start = self.cursor = sequence
            elif "data" in record:
                assert sequence == self.cursor + 1, "out of order, or a loss that nobody told of"
                self.cursor = sequence
                self.received += 1
                if record["data"] == LAST:
                    return
            elif record.get("event") == "dropped":
                self.missed += int(str(record["missed"]))
                self.cursor = sequence
            if wake is not None and self.received == BATCH:
                await wake.wait()


async def _stay(
    service: Service,
    topic: str,
    transport: Transport,
    joined: asyncio.Semaphore,
    wake: asyncio.Event | None,
) -> Account:
    account = Account()
    async with transport.open(service, topic) as consumer:
        joined.release()
        await account.follow(aiter(consumer), wake)
    return account


async def _come_and_go(
    service: Service, topic: str, transport: Transport, over: asyncio.Event, seed: int
) -> None:
    """Come back again and again, by position or not; leave politely, or reset the connection."""
    chance = random.Random(seed)
    position = ""
    while not over.is_set():
        if chance.random() < 0.4:
            raw = await asyncio.to_thread(RawStream, service, topic, transport.name)
            await asyncio.sleep(chance.uniform(0, 0.2))
            raw.reset()
            continue
        query = {"after": position} if position and chance.random() < 0.7 else {}
        async with transport.open(service, topic, **query) as consumer:
            for _ in range(chance.randrange(1, 400)):
                position = (await consumer.next())["id"]
                if over.is_set():
                    return


@pytest.mark.parametrize("staying", TRANSPORTS, ids=lambda transport: transport.name)
async def test_after_chaos_the_service_counts_what_its_clients_counted(
    start_service: StartService, topic: str, staying: Transport
) -> None:
    service = start_service(
        log="memory",
        ring_messages=200,
        slow_consumer="drop_oldest",
        retention_messages=2000,
        heartbeat_seconds=0.2,
    )
    others = [transport for transport in TRANSPORTS if transport is not staying]
    joined, wake, over = asyncio.Semaphore(0), asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        stayers = [
            group.create_task(_stay(service, topic, staying, joined, wake if number % 2 else None))
            for number in range(STAYERS)
        ]
        for seed in range(LEAVERS):
            transport = others[seed % len(others)]
            group.create_task(_come_and_go(service, topic, transport, over, seed))
        for _ in stayers:
            await joined.acquire()
        for _ in range(BATCHES):
            await asyncio.to_thread(service.publish, topic, *[PADDING] * BATCH)
            await asyncio.sleep(0.01)
        wake.set()
        await asyncio.to_thread(service.publish, topic, LAST)
        accounts = [await stayer for stayer in stayers]
        over.set()
        await asyncio.to_thread(service.publish, topic, "to wake those who wait")
    await asyncio.to_thread(service.wait_for_metric, 0, "riptide_streaming_active_connections")
    for account in accounts:
        assert account.cursor - account.start == account.received + account.missed
    samples = service.metrics()
    label = f'protocol="{staying.name}"'
    assert samples["riptide_streaming_messages_unaccounted"] == 0
    assert samples["riptide_streaming_queued_messages"] == 0
    received = sum(account.received for account in accounts)
    missed = sum(account.missed for account in accounts)
    assert missed > 0
    # The wake-up call may have reached a stayer's connection before it was closed.
    sent = samples[f"riptide_streaming_messages_sent_total{{{label}}}"]
    assert received <= sent <= received + STAYERS
    dropped = samples[f'riptide_streaming_messages_dropped_total{{{label},reason="slow_consumer"}}']
    assert dropped == missed
    opened = sum(v for name, v in samples.items() if re.match(r".*connections_opened_total", name))
    closed = sum(v for name, v in samples.items() if re.match(r".*connections_closed_total", name))
    assert opened == closed
    assert samples["riptide_topics"] == 0
