"""The latency of messages that are published at a fixed rate, however slow the server is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.contest import BROADCASTER, NCHAN, PUSHPIN, RIPTIDE, Contest, Entry
from benchmarks.figures import Bar, Figure, Result
from benchmarks.load import Plan
from benchmarks.peers.peer import SSE, WEBSOCKET

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Messages per second; the rate that has a bar comes first.
RATES = (10, 100)
SERVERS = {
    "riptide SSE": (RIPTIDE, SSE),
    "nchan SSE": (NCHAN, SSE),
    "riptide WebSocket": (RIPTIDE, WEBSOCKET),
    "pushpin SSE": (PUSHPIN, SSE),
    "sse-starlette SSE": (BROADCASTER, SSE),
}
BAR = Bar(1.5)


def run(*, quick: bool) -> Result:
    """Measure each server at each rate."""
    consumers, seconds, rounds = (10, 0.3, 1) if quick else (1_000, 4.0, 3)
    rates = RATES[:1] if quick else RATES
    contest = Contest(list(_entries(consumers, seconds, rates)), rounds).hold()
    figures = [*_bars(contest), *contest.latencies(), *_lateness(contest)]
    return Result(figures, contest.parameters(), contest.left_out)


def _entries(consumers: int, seconds: float, rates: Sequence[int]) -> Iterator[Entry]:
    for rate in rates:
        for name, (peer, transport) in SERVERS.items():
            plan = Plan(consumers=consumers, seconds=seconds, transport=transport, rate=rate)
            yield Entry(f"{name}, {rate}/s", peer, plan)


def _bars(contest: Contest) -> Iterator[Figure]:
    for rate in RATES:
        for ours in ("riptide SSE", "riptide WebSocket"):
            bar = BAR if (rate, ours) == (RATES[0], "riptide SSE") else None
            names = f"{ours}, {rate}/s", f"nchan SSE, {rate}/s"
            yield from contest.ratio(*names, "p99", lambda outcome: outcome.p99_ms, bar)
            yield from contest.ratio(*names, "p50", lambda outcome: outcome.p50_ms)


def _lateness(contest: Contest) -> Iterator[Figure]:
    """Yield how late the client itself published, which is no part of the latency."""
    for entry in contest.entries:
        yield from contest.figure(
            entry.name,
            "latest that the client published",
            "ms",
            lambda outcome: outcome.result["latest_send_ns"] / 1_000_000,
        )
