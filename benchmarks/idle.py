"""The cost of an idle consumer: the time to connect it, and its memory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import load, machine
from benchmarks.contest import BROADCASTER, NCHAN, PUSHPIN, RIPTIDE
from benchmarks.figures import Bar, Figure, Result
from benchmarks.load import Plan
from benchmarks.peers.peer import NDJSON, SSE, WEBSOCKET
from benchmarks.scrape import SPARE_FILES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.peers.peer import Peer

CONTENDERS: Sequence[tuple[str, Peer, str]] = (
    ("riptide SSE", RIPTIDE, SSE),
    ("riptide NDJSON", RIPTIDE, NDJSON),
    ("riptide WebSocket", RIPTIDE, WEBSOCKET),
    ("nchan SSE", NCHAN, SSE),
    ("nchan WebSocket", NCHAN, WEBSOCKET),
    ("pushpin SSE", PUSHPIN, SSE),
    ("sse-starlette SSE", BROADCASTER, SSE),
)
COUNTS = (2_000, 10_000)
QUICK_COUNTS = (20,)
# From this number of consumers on, the other servers would take minutes to let them in.
MANY = 10_000
FIT_FOR_MANY = (RIPTIDE, NCHAN)
BAR = Bar(20)
KILOBYTE = 1_000
# A pause in which the server finishes deferred work before its memory is read.
REST_S = 1.0
# Consumers that come and go before the measurement, so that no memory that a server takes only once
# is counted as theirs.
FIRST_CONSUMERS = 20
MESSAGES_AFTER = 5


class Sample(NamedTuple):
    """Consumers connected per second, and the kilobytes of each."""

    rate: float
    kilobytes: float


def run(*, quick: bool) -> Result:
    """Measure each server at each number of consumers, as far as the open files allow."""
    limit = machine.open_files_limit() - SPARE_FILES
    counts = QUICK_COUNTS if quick else COUNTS
    figures: list[Figure] = []
    left_out: dict[str, str] = {}
    for wanted in counts:
        for name, peer, transport in CONTENDERS:
            if wanted >= MANY and peer not in FIT_FOR_MANY:
                continue
            count = min(wanted, limit)
            at = f"{name}, {count:,} consumers"
            missing = peer.missing()
            if missing:
                left_out[at] = f"not installed: {', '.join(missing)}"
                continue
            try:
                sample = measure(peer, transport, count, 0 if quick else REST_S)
            except RuntimeError as error:
                if peer.name == RIPTIDE.name:
                    raise
                left_out[at] = str(error)[:300]
                continue
            bar = BAR if peer.name == RIPTIDE.name and wanted == counts[-1] else None
            figures += [
                Figure(f"{at}: memory of each", "kB", [sample.kilobytes], bar),
                Figure(f"{at}: let in", "consumers/s", [sample.rate], row=at, column="let in"),
            ]
    return Result(figures, {"consumers": counts}, left_out)


def measure(peer: Peer, transport: str, count: int, rest_s: float) -> Sample:
    """Connect consumers and read the server's memory; check that Riptide's then get messages."""
    with peer.serve() as serving:
        load.run(
            peer,
            serving,
            Plan(consumers=FIRST_CONSUMERS, seconds=0.1, transport=transport, rate=50),
        )
        time.sleep(rest_s)
        before = serving.resident_bytes()
        plan = Plan(
            consumers=count,
            seconds=1,
            transport=transport,
            rate=MESSAGES_AFTER,
            pause=True,
        )
        with load.running(peer, serving, plan) as client:
            seconds = client.await_event("connected")["seconds"]
            time.sleep(rest_s)
            held = serving.resident_bytes() - before
            if peer.name == RIPTIDE.name:
                client.go_on()
                client.outcome()
    return Sample(count / seconds, held / count / KILOBYTE)
