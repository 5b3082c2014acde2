"""What a consumer costs that only listens: to let in, and in memory."""

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
BAR = Bar(20)
KILOBYTE = 1_000
# For the server to do what it puts off.
REST_S = 1.0
# Consumers that come and go first: what a server takes once is no consumer's.
FIRST = 20
MESSAGES_AFTER = 5


class Sample(NamedTuple):
    """Consumers let in a second, and kilobytes of each."""

    rate: float
    kilobytes: float


def run(*, quick: bool) -> Result:
    """Measure each server at each number of consumers, as far as the open files allow."""
    limit = machine.open_files_limit() - SPARE_FILES
    counts = [min(count, limit) for count in (QUICK_COUNTS if quick else COUNTS)]
    figures: list[Figure] = []
    left_out: dict[str, str] = {}
    for count in counts:
        for name, peer, transport in CONTENDERS:
            missing = peer.missing()
            if missing:
                left_out[name] = f"not installed: {', '.join(missing)}"
                continue
            try:
                sample = measure(peer, transport, count, REST_S if not quick else 0)
            except RuntimeError as error:
                if peer is RIPTIDE:
                    raise
                left_out[f"{name}, {count:,} consumers"] = str(error)[:300]
                continue
            bar = BAR if peer is RIPTIDE and count == counts[-1] else None
            at = f"{name}, {count:,} consumers"
            figures += [
                Figure(f"{at}: memory of each", "kB", [sample.kilobytes], bar),
                Figure(f"{at}: let in", "consumers/s", [sample.rate]),
            ]
    return Result(figures, {"consumers": counts, "left_out": left_out})


def measure(peer: Peer, transport: str, count: int, rest_s: float) -> Sample:
    """Connect so many, look at the memory, and see that each gets messages."""
    with peer.serve() as serving:
        load.run(peer, serving, Plan(consumers=FIRST, seconds=0.1, transport=transport, rate=50))
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
            client.go_on()
            client.outcome()
    return Sample(count / seconds, held / count / KILOBYTE)
