"""Readers that never read: what they cost is bounded, however much is published."""

from __future__ import annotations

import contextlib
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.contract.raw import RawStream
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.conftest import StartService
    from tests.contract.consumers import Transport
    from tests.service import Service

MEMORY = "riptide_streaming_memory_usage_bytes"
KIBIBYTE = 1024
READERS = 30
# Of the heartbeat, which looks after all streams about once a second.
ROUND_S = 1.1
ROUNDS, BATCH, MESSAGE_BYTES = 9, 250, 16 * KIBIBYTE
RING_BYTES = 4 * 1024 * KIBIBYTE
# Where asyncio stops taking, and the largest write that may still begin below that mark.
MARK_BYTES = 64 * KIBIBYTE
BUFFER_BYTES = MARK_BYTES + 256 * KIBIBYTE + 2 * MESSAGE_BYTES
# What an open stream takes when idle, generously.
STREAM_BYTES = 40 * KIBIBYTE
# Requests on their way and the allocator's own room.
SLACK_BYTES = 32 * 1024 * KIBIBYTE


def _resident(service: Service) -> int:
    pages = Path(f"/proc/{service.pid}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


def test_readers_that_never_read_cost_bounded_memory(
    start_service: StartService, transport: Transport, topic: str
) -> None:
    service = start_service(
        log="memory",
        retention_messages=100,
        ring_bytes=RING_BYTES,
        slow_consumer="drop_oldest",
        write_timeout_seconds=600,
    )
    messages = ["x" * MESSAGE_BYTES] * BATCH
    # What publishing alone takes is there before.
    service.publish(topic, *messages)
    with contextlib.ExitStack() as stack:
        for _ in range(READERS):
            stack.enter_context(RawStream(service, topic, transport.name)).wait_until_open()
        service.publish(topic, *messages)
        before = _resident(service)
        held = []
        for number in range(ROUNDS):
            service.publish(topic, *messages)
            if number % 3 == 2:
                # Write buffers are added up in rounds of the heartbeat.
                time.sleep(ROUND_S)
                wait_until(lambda: service.metric(MEMORY) > READERS * MARK_BYTES)
                held.append(service.metric(MEMORY))
        grown = _resident(service) - before
        blocked = service.metric(
            "riptide_streaming_backpressure_events_total", protocol=transport.name
        )
        assert service.metric("riptide_streaming_active_connections") == READERS
    assert blocked >= READERS, "nobody was slow"
    published = ROUNDS * BATCH * MESSAGE_BYTES
    assert published > 30e6
    # The ring, and as much again for what it made of its messages for those who wait.
    bound = 2 * RING_BYTES + READERS * (BUFFER_BYTES + STREAM_BYTES)
    # Not what they were sent, all of which somebody has to hold for each.
    assert bound < READERS * published / 20
    assert max(held) < bound
    assert grown < bound + SLACK_BYTES
    # Nothing that a single reader costs goes on growing.
    assert max(held[1:]) <= 1.1 * held[0]
