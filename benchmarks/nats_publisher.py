"""A process that publishes to JetStream by nats-py alone: ``python -m benchmarks.nats_publisher``.

usage: python -m benchmarks.nats_publisher URLS PUBLISHERS BATCH

Each of the publishers publishes messages of the size of the load client's, as many at a time as
BATCH says, and waits until all of them are acknowledged. The process says "ready", and for each
number of seconds on standard input, it publishes that long and prints an object of JSON.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import sys
import time
from typing import TYPE_CHECKING

import nats
import orjson
import uvloop
from nats.js.api import StorageType

from benchmarks.load import PAYLOAD_BYTES

if TYPE_CHECKING:
    from nats.js import JetStreamContext

# As many as the load of Riptide has topics.
SUBJECTS = 3
REPLICAS = 3
PAYLOAD = b'"' + b"x" * (PAYLOAD_BYTES - 2) + b'"'
TIMEOUT_S = 60.0


async def main(urls: str, publishers: int, batch: int) -> None:
    """Publish as often as standard input asks, to a stream that is deleted at the end."""
    client = await nats.connect(urls.split(","))
    stream = f"nats-py-{secrets.token_hex(4)}"
    jetstream = client.jetstream(timeout=TIMEOUT_S)
    await jetstream.add_stream(
        name=stream, subjects=[f"{stream}.>"], num_replicas=REPLICAS, storage=StorageType.FILE
    )
    _say(b"ready")
    for line in iter(sys.stdin.readline, ""):
        waits: list[float] = []
        cpu, began = time.process_time(), time.perf_counter()
        end = began + float(line)
        subjects = [f"{stream}.{number % SUBJECTS}" for number in range(publishers)]
        await asyncio.gather(
            *(_publish(jetstream, subject, batch, end, waits) for subject in subjects)
        )
        took = time.perf_counter() - began
        percentiles = statistics.quantiles(waits, n=100)
        result = {
            "published": len(waits) * batch,
            "seconds": took,
            "p50_s": percentiles[49],
            "p99_s": percentiles[98],
            "cpu_s": time.process_time() - cpu,
        }
        _say(orjson.dumps(result))
    await jetstream.delete_stream(stream)
    await client.close()


async def _publish(
    jetstream: JetStreamContext, subject: str, batch: int, end: float, waits: list[float]
) -> None:
    while (began := time.perf_counter()) < end:
        if batch == 1:
            await jetstream.publish(subject, PAYLOAD)
        else:
            answers = [await jetstream.publish_async(subject, PAYLOAD) for _ in range(batch)]
            await asyncio.gather(*answers)
        waits.append(time.perf_counter() - began)


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
