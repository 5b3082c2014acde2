"""All consumers are cut off at once and reconnect at once: how long until they miss nothing.

Messages are published before the cut, while the consumers are away, and while they come back. Each
consumer sends its last id (``Last-Event-ID``), and must end up with every message once.
"""

from __future__ import annotations

from benchmarks.contest import NCHAN, RIPTIDE, Contest, Entry
from benchmarks.figures import Bar, Figure, Result
from benchmarks.load import Plan

RATE = 10
BAR = Bar(15)


def run(*, quick: bool) -> Result:
    """Measure Riptide, and nchan, which can resume too."""
    consumers, rounds = (50, 1) if quick else (5_000, 3)
    # connecting=0 means no limit on how many connect at once, which makes the storm.
    plan = Plan(
        consumers=consumers,
        seconds=0.2 if quick else 1,
        rate=RATE,
        connecting=0,
        storm_after=0.2 if quick else 1.0,
        away=0.2 if quick else 1.0,
    )
    contest = Contest([Entry("riptide", RIPTIDE, plan), Entry("nchan", NCHAN, plan)], rounds).hold()
    figures: list[Figure] = []
    for name in contest.outcomes:
        bar = BAR if name == "riptide" else None
        for what, unit, key, its_bar in (
            ("until all were back and had everything", "s", "storm_seconds", bar),
            ("messages lost", "", "lost", Bar(0)),
            ("messages twice", "", "duplicated", Bar(0)),
            ("gap or reset instead of resumed", "", "gaps", Bar(0)),
            ("resumed", "", "resumed", None),
            ("connections that had to try again", "", "retries", None),
        ):
            samples = [float(outcome.result[key]) for outcome in contest.outcomes[name]]
            used = its_bar if bar is not None else None
            figures.append(Figure(f"{name}, {consumers:,} consumers: {what}", unit, samples, used))
        processor = [outcome.server_cpu for outcome in contest.outcomes[name]]
        figures.append(
            Figure(f"{name}, {consumers:,} consumers: server's processor time", "s", processor)
        )
    return Result(figures, contest.parameters(), contest.left_out)
