"""Deliveries per second at the full speed of each server, and their latency meanwhile.

The load is a closed loop, the same for all servers: one small message a request, over 16
connections, and never more than 64 messages in flight, that is, sent but not yet received by every
consumer. A server may write several of them at once. A late acknowledgement holds up nothing but
its own connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.contest import BLASTER, BROADCASTER, NCHAN, PUSHPIN, RIPTIDE, Contest, Entry
from benchmarks.figures import Bar, Figure, Result
from benchmarks.load import Outcome, Plan
from benchmarks.peers.peer import NDJSON, SSE, WEBSOCKET

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CONSUMERS = (100, 1_000, 5_000)
QUICK_CONSUMERS = (10,)
BATCH = 100
BATCHED_WINDOW = 1_600


def run(*, quick: bool) -> Result:
    """Measure each server at each number of consumers."""
    counts = QUICK_CONSUMERS if quick else CONSUMERS
    middle = counts[len(counts) // 2]
    seconds, rounds = (0.2, 1) if quick else (2.0, 3)
    entries = [entry for count in counts for entry in _entries(count, seconds, middle)]
    contest = Contest(entries, rounds).hold()
    return Result(
        [*_bars(contest, middle), *_rates(contest), *contest.latencies()],
        contest.parameters(),
        contest.left_out,
    )


def named(server: str, consumers: int) -> str:
    """Return the name of an entry."""
    return f"{server}, {consumers:,} consumers"


def _entries(count: int, seconds: float, middle: int) -> Iterator[Entry]:
    def entry(name: str, peer: object, transport: str = SSE, **more: int) -> Entry:
        plan = Plan(consumers=count, seconds=seconds, transport=transport, **more)  # type: ignore[arg-type]  # whole numbers only
        return Entry(named(name, count), peer, plan)  # type: ignore[arg-type]  # one of the peers

    yield entry("riptide SSE", RIPTIDE)
    yield entry("nchan SSE", NCHAN)
    yield entry("riptide WebSocket", RIPTIDE, WEBSOCKET)
    yield entry("pushpin SSE", PUSHPIN)
    yield entry("sse-starlette SSE", BROADCASTER)
    if count == middle:
        yield entry("nchan WebSocket", NCHAN, WEBSOCKET)
        yield entry("riptide NDJSON", RIPTIDE, NDJSON)
        yield entry("riptide SSE, batches of 100", RIPTIDE, batch=BATCH, window=BATCHED_WINDOW)
        yield entry("riptide SSE, one in flight", RIPTIDE, window=1)
        yield entry("nchan SSE, one in flight", NCHAN, window=1)
        yield entry("blaster SSE", BLASTER)


def _bars(contest: Contest, count: int) -> Iterator[Figure]:
    ours = named("riptide SSE", count)
    for peer, limit in (("nchan SSE", 1.5), ("pushpin SSE", 3), ("sse-starlette SSE", 5)):
        bar = Bar(limit, at_least=True)
        yield from contest.ratio(ours, named(peer, count), "deliveries", _rate, bar)
    yield from contest.ratio(
        ours, named("nchan SSE", count), "p99", lambda outcome: outcome.p99_ms, Bar(1)
    )
    yield from contest.ratio(
        named("riptide WebSocket", count), ours, "deliveries", _rate, Bar(0.8, at_least=True)
    )
    yield from contest.ratio(ours, named("blaster SSE", count), "deliveries", _rate)
    yield from contest.ratio(
        named("riptide SSE, one in flight", count),
        named("nchan SSE, one in flight", count),
        "deliveries",
        _rate,
    )
    others: Sequence[int] = sorted({entry.plan.consumers for entry in contest.entries} - {count})
    for other in others:
        yield from contest.ratio(
            named("riptide SSE", other), named("nchan SSE", other), "deliveries", _rate
        )


def _rates(contest: Contest) -> Iterator[Figure]:
    for entry in contest.entries:
        yield from contest.figure(entry.name, "rate", "deliveries/s", _rate)
        yield from contest.figure(
            entry.name, "per second of the server's processor time", "deliveries", _per_cpu_second
        )
        yield from contest.figure(
            entry.name, "a read", "messages", lambda o: o.result["deliveries"] / o.result["reads"]
        )
        yield from contest.figure(entry.name, "client's core busy", "", lambda o: o.client_busy)
        yield from contest.figure(entry.name, "server's core busy", "", lambda o: o.server_busy)


def _rate(outcome: Outcome) -> float:
    return outcome.deliveries_per_s


def _per_cpu_second(outcome: Outcome) -> float:
    # The kernel counts processor time in hundredths of a second.
    return float(outcome.result["deliveries"] / max(outcome.server_cpu, 0.01))
