"""How one consumer in a hundred that never reads affects the latency of the others.

Messages have 2 kB, so that the kernel's buffers for the stalled consumers are soon full.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.contest import NCHAN, RIPTIDE, Contest, Entry
from benchmarks.figures import Bar, Figure, Result
from benchmarks.load import Plan
from benchmarks.peers.peer import SSE, WEBSOCKET

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVERS = {
    "riptide SSE": (RIPTIDE, SSE),
    "riptide WebSocket": (RIPTIDE, WEBSOCKET),
    "nchan SSE": (NCHAN, SSE),
}
BAR = Bar(1.1)
RATE = 20
PAYLOAD_BYTES = 2_000


def run(*, quick: bool) -> Result:
    """Measure each server with and without stalled consumers, in turn."""
    consumers, seconds, rounds = (100, 0.3, 1) if quick else (1_000, 3.0, 5)
    entries = []
    for name, (peer, transport) in SERVERS.items():
        for stalled in (0, consumers // 100):
            plan = Plan(
                consumers=consumers + stalled,
                stalled=stalled,
                seconds=seconds,
                transport=transport,
                rate=RATE,
                payload_bytes=PAYLOAD_BYTES,
            )
            entries.append(Entry(f"{name}, {stalled} stalled", peer, plan))
    contest = Contest(entries, rounds).hold()
    figures = [*_bars(contest, consumers // 100), *contest.latencies()]
    return Result(figures, contest.parameters(), contest.left_out)


def _bars(contest: Contest, stalled: int) -> Iterator[Figure]:
    for name, (peer, _) in SERVERS.items():
        yield from contest.ratio(
            f"{name}, {stalled} stalled",
            f"{name}, 0 stalled",
            "p99",
            lambda outcome: outcome.p99_ms,
            BAR if peer.name == RIPTIDE.name else None,
        )
