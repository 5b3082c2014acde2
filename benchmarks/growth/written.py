"""How many bytes are written to the disk for each byte that is published."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks import machine
from benchmarks.figures import RATIO, Bar, Figure, Result
from benchmarks.growth.publishers import Publishers
from benchmarks.service import environment_of, running
from operations.faulty_disk.disk import FaultyDisk, FaultyDiskError, build

COMMAND = ["-m", "riptide.cli", "serve"]
GROUP = 64
MESSAGE = b'"%s"' % (b"x" * 1022)
TOPICS = 10


class Way(NamedTuple):
    """How messages of 1 kB are published."""

    publishers: int
    batch: int
    bar: Bar


WAYS = {
    "one by one": Way(1, 1, Bar(10)),
    f"batches of {GROUP}": Way(1, GROUP, Bar(3)),
    f"{GROUP} publishers": Way(GROUP, 1, Bar(3)),
}


def run(*, quick: bool) -> Result:
    """Count what is written until the service has ended, which leaves no write-ahead log."""
    messages = 2 * GROUP if quick else 20_000
    figures: list[Figure] = []
    try:
        for name, way in WAYS.items():
            written = _measure(way, messages)
            figures.append(
                Figure(f"{name}: bytes written for each byte published", RATIO, [written], way.bar)
            )
    except FaultyDiskError as error:
        return Result([], left_out={"bytes written": str(error)})
    return Result(figures, {"messages": messages, "bytes": len(MESSAGE), "topics": TOPICS})


def _measure(way: Way, messages: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory, "data")
        disk = FaultyDisk(data, build(Path(directory)), Path(directory, "table"))
        environment = environment_of(log="sqlite", data_dir=data) | disk.environment
        with (
            running(COMMAND, environment) as server,
            machine.pinned_to(machine.client_cores()),
            Publishers(server.port, way.publishers) as publishers,
        ):
            answers = publishers.publish(
                lambda number: f"topic-{number % TOPICS}",
                b"\n".join([MESSAGE] * way.batch),
                until=lambda count: count * way.batch > messages - way.publishers,
                media_type="application/x-ndjson",
            )
        return disk.bytes_written() / (len(answers.waits) * way.batch * len(MESSAGE))
