"""What a service holds, as the service itself, the system and the metrics report it."""

from __future__ import annotations

import asyncio
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson

from benchmarks.scraping import scrape

if TYPE_CHECKING:
    from benchmarks.service import Server

SETTLE_DEADLINE_S = 120.0


class Holdings(NamedTuple):
    """What a service holds while nobody is connected.

    ``resident``, ``used`` and ``memory_usage`` are in bytes. ``used`` is what stays resident once
    the allocator has given back the memory that it kept for later.
    """

    resident: int
    used: int
    objects: int
    tasks: int
    descriptors: int
    places: int
    addresses: int
    topics: float
    queued: float
    unaccounted: float
    memory_usage: float


async def take(server: Server) -> Holdings:
    """Wait until no stream is open, and return what the service holds.

    Raises:
        RuntimeError: streams stay open though their clients have gone.

    """
    deadline = time.monotonic() + SETTLE_DEADLINE_S
    while (await _metrics(server, "riptide_streaming_active_connections"))[0]:
        if time.monotonic() > deadline:
            raise RuntimeError("streams stay open though their clients have gone")
        await asyncio.sleep(0.1)
    # The sockets of streams and of requests are closed a moment later.
    descriptors = await _steady_descriptors(server.pid)
    topics, queued, unaccounted, memory_usage = await _metrics(
        server,
        "riptide_topics",
        "riptide_streaming_queued_messages",
        "riptide_streaming_messages_unaccounted",
        "riptide_streaming_memory_usage_bytes",
    )
    resident = resident_bytes(server.pid)
    server.stdin.write(b"\n")
    server.stdin.flush()
    held = orjson.loads(await asyncio.to_thread(server.stdout.readline))
    return Holdings(
        resident,
        resident_bytes(server.pid),
        held["objects"],
        held["tasks"],
        descriptors,
        held["places"],
        held["addresses"],
        topics,
        queued,
        unaccounted,
        memory_usage,
    )


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


async def _steady_descriptors(pid: int) -> int:
    last = -1
    while (count := _descriptors(pid)) != last:
        last = count
        await asyncio.sleep(0.5)
    return count


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def _metrics(server: Server, *names: str) -> list[float]:
    page = await asyncio.to_thread(scrape, server.port)
    return [page.value(name) or 0.0 for name in names]
