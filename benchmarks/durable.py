"""Publishes per second that are on disk once acknowledged: what sharing an fsync gains.

Each request has one message, and there are no consumers.
"""

from __future__ import annotations

import functools
from dataclasses import replace

from benchmarks.contest import NCHAN, RIPTIDE, Contest, Entry
from benchmarks.figures import RATIO, Figure, Result, ratios
from benchmarks.load import Outcome, Plan
from benchmarks.peers import riptide

PUBLISHERS = (1, 16, 64, 256)
QUICK_PUBLISHERS = (1, 4)


def run(*, quick: bool) -> Result:
    """Measure Riptide with a log on disk and in memory, and nchan, which has one in memory."""
    counts = QUICK_PUBLISHERS if quick else PUBLISHERS
    seconds, rounds = (0.2, 1) if quick else (1.5, 3)
    on_disk = replace(RIPTIDE, serve=functools.partial(riptide.serve, log="sqlite"))
    entries = []
    for count in counts:
        plan = Plan(consumers=0, seconds=seconds, publishers=count, window=count)
        entries += [
            Entry(f"riptide on disk, {count} publishers", on_disk, plan),
            Entry(f"riptide in memory, {count} publishers", RIPTIDE, plan),
            Entry(f"nchan in memory, {count} publishers", NCHAN, plan),
        ]
    contest = Contest(entries, rounds).hold()
    alone = contest.outcomes[f"riptide on disk, {counts[0]} publishers"]
    many = contest.outcomes[f"riptide on disk, {counts[-1]} publishers"]
    figures = [
        Figure(
            f"on disk: {counts[-1]} publishers ÷ {counts[0]}",
            RATIO,
            ratios([_rate(outcome) for outcome in many], [_rate(outcome) for outcome in alone]),
        )
    ]
    for entry in entries:
        figures += contest.figure(entry.name, "acknowledged", "messages/s", _rate)
        figures += contest.figure(
            entry.name,
            "p50 until acknowledged",
            "ms",
            lambda outcome: outcome.result["ack_p50_ns"] / 1e6,
        )
        figures += contest.figure(
            entry.name,
            "p99 until acknowledged",
            "ms",
            lambda outcome: outcome.result["ack_p99_ns"] / 1e6,
        )
    return Result(figures, contest.parameters(), contest.left_out)


def _rate(outcome: Outcome) -> float:
    return float(outcome.result["published"] / outcome.result["publish_seconds"])
