"""A process whose publishers append to a log, without HTTP: ``python -m benchmarks.appender``.

usage: python -m benchmarks.appender PLACE PUBLISHERS

PLACE is the directory of a log that this process keeps itself, or the socket of the process that
keeps it. The process follows all topics, as a worker with consumers does. It says "ready", and for
each number of seconds on standard input, it publishes that long and prints an object of JSON.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import uvloop

from benchmarks.log_process import RETENTION
from riptide.process.interpreter import tuned_for_streams
from riptide.publication import Publication
from riptide.storage.message_log import Retention
from riptide.storage.shared.client import SharedLog
from riptide.storage.sqlite import SqliteLog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from riptide.message import Message
    from riptide.storage.message_log import MessageLog

TOPICS = [f"topic-{number}" for number in range(5)]
PAYLOAD = b'"' + b"x" * 198 + b'"'


class Followed:
    """Counts what it is pushed."""

    def __init__(self) -> None:
        self.count = 0

    def push(self, messages: Sequence[Message]) -> None:
        """Count messages."""
        self.count += len(messages)

    def lost(self) -> None:
        """Nothing is lost here."""


async def main(log: MessageLog, publishers: int) -> None:
    """Publish as often as standard input asks."""
    await log.open()
    followed = Followed()
    for topic in TOPICS:
        await log.follow(topic, followed)
    _say(b"ready")
    for line in iter(sys.stdin.readline, ""):
        waits: list[float] = []
        seen, cpu = followed.count, time.process_time()
        began = time.perf_counter()
        end = began + float(line)
        await asyncio.gather(*(_publish(log, n, end, waits) for n in range(publishers)))
        took = time.perf_counter() - began
        percentiles = statistics.quantiles(waits, n=100)
        result = {
            "appended": len(waits),
            "seconds": took,
            "p50_s": percentiles[49],
            "p99_s": percentiles[98],
            "cpu_s": time.process_time() - cpu,
            "followed": followed.count - seen,
        }
        _say(orjson.dumps(result))
    await log.close()


async def _publish(log: MessageLog, number: int, end: float, waits: list[float]) -> None:
    topic = TOPICS[number % len(TOPICS)]
    while (began := time.perf_counter()) < end:
        await log.append(Publication.now(topic, [PAYLOAD]))
        waits.append(time.perf_counter() - began)


def _log_at(place: Path) -> MessageLog:
    return SqliteLog(place, Retention(RETENTION, 86_400)) if place.is_dir() else SharedLog(place)


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    with tuned_for_streams():
        uvloop.run(main(_log_at(Path(sys.argv[1])), int(sys.argv[2])))
