"""All faults one after the other, each with servers and instances of its own.

Publishers at all instances publish to two topics, consumers follow them on all transports at all
instances. What publishers were told has to be true; consumers have to get what the log has: every
message once, in one order; and what instances count has to be what consumers counted.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from benchmarks.endurance.cluster.cases import CASES
from benchmarks.endurance.cluster.load import Load
from benchmarks.endurance.cluster.trial import Trial
from benchmarks.figures import Bar, Figure, Result
from operations.faulty_disk.disk import FaultyDiskError, build

if TYPE_CHECKING:
    from benchmarks.endurance.cluster.cases import Case

NOTHING = Bar(0)
# The figures of a load by what they say in the table.
LOST = ("acknowledged and lost", "messages lost", "consumers that have not all messages once")
TWICE = ("kept twice", "messages twice")
OTHERWISE = (
    '"was not published", and kept',
    "kept in another order",
    "contradictions to the log",
    "messages that the service said were missed",
    "gap or reset instead of resumed",
    "ids given twice, to different messages",
    "consumers that were not told to begin anew",
)


class Plan(NamedTuple):
    """Which faults, and how often each."""

    cases: tuple[str, ...] = tuple(CASES)
    rounds: int = 1


class Row(NamedTuple):
    """What came of one fault."""

    acknowledged: float
    # Refused, or of unknown outcome.
    refused: float
    lost: float
    twice: float
    # Another order, other contents, another answer, a gap or a reset.
    otherwise: float
    unaccounted: float
    miscounted: float
    ended: float
    silence_s: float
    # Of words for whoever looks for the cause.
    wrong: tuple[str, ...] = ()


def run(plan: Plan, *, progress: bool = False) -> Result:
    """Try the faults, within ``network.go_inside``, and judge what all were told."""
    left_out: dict[str, str] = {}
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        try:
            library = build(directory)
        except FaultyDiskError as error:
            return Result([], plan._asdict(), {case: str(error) for case in plan.cases})
        for case in (CASES[name] for name in plan.cases):
            missing = [program for program in case.needs if shutil.which(program) is None]
            if missing:
                left_out[case.name] = f"{', '.join(missing)} is not installed"
                continue
            rows = []
            for number in range(plan.rounds):
                home = directory / f"{len(figures)}-{number}"
                try:
                    rows.append(asyncio.run(_try(case, home, library)))
                except RuntimeError as error:
                    column = "broken off"
                    figures.append(
                        Figure(f"{case.name}: {column}", "", [1], NOTHING, case.name, column)
                    )
                    click.echo(f"{case.name}: {error}", err=True)
                else:
                    if progress:
                        click.echo(f"{case.name}: {rows[-1]}")
            if rows:
                figures += _figures(case, rows)
    return Result(figures, plan._asdict() | {"cases": len(plan.cases)}, left_out)


async def _try(case: Case, directory: Path, library: Path) -> Row:
    async with Trial(directory, library, limits=case.limits, settings=case.settings) as trial:
        await trial.prepare(stream_age_s=case.stream_age_s)
        load = trial.load = Load(trial.places, "load")
        aside = None

        async def fail() -> None:
            nonlocal aside
            aside = await case.do(trial)

        try:
            await load.run(fail, logs_are_whole=case.logs_are_whole, keeps_all=case.keeps_all)
        except RuntimeError as error:
            logs = "\n".join(instance.log() for instance in trial.instances)
            raise RuntimeError(f"{case.name}: {error}\n{logs}") from error
        faults = [line for instance in trial.instances for line in instance.tracebacks()]
    assert aside is not None  # noqa: S101  # the fault was there
    by_name = {figure.name: figure.median for figure in load.outcome.figures}
    others = set(trial.places) - aside.silent
    return Row(
        acknowledged=by_name["messages acknowledged"],
        refused=by_name["messages refused"] + by_name["messages of unknown outcome"],
        lost=sum(by_name.get(name, 0) for name in LOST),
        twice=sum(by_name.get(name, 0) for name in TWICE),
        otherwise=sum(by_name.get(name, 0) for name in OTHERWISE),
        unaccounted=load.outcome.unaccounted,
        miscounted=load.outcome.miscounted,
        ended=load.ended(aside.ended),
        silence_s=load.silence_s(aside.silent) if others else 0.0,
        wrong=(*load.wrong, *faults),
    )


def _figures(case: Case, rows: list[Row]) -> list[Figure]:
    """Return a row of the table; counts are sums, and the silence is the longest."""
    limit_s = case.longest_silence_s
    silence = None if limit_s is None else Bar(limit_s)
    columns: dict[str, tuple[list[float], Bar | None]] = {
        "acknowledged": ([row.acknowledged for row in rows], None),
        "refused or unknown": ([row.refused for row in rows], None),
        "lost": ([row.lost for row in rows], NOTHING),
        "twice": ([row.twice for row in rows], NOTHING),
        "otherwise wrong": ([row.otherwise for row in rows], NOTHING),
        "unaccounted": ([row.unaccounted for row in rows], NOTHING),
        "counted differently": ([row.miscounted for row in rows], NOTHING),
        "streams ended": ([row.ended for row in rows], NOTHING),
    }
    figures = [
        Figure(f"{case.name}: {name}", "", [sum(values)], bar, row=case.name, column=name)
        for name, (values, bar) in columns.items()
    ]
    longest = max(row.silence_s for row in rows)
    if longest:
        name = "longest silence"
        figures.append(
            Figure(f"{case.name}: {name}", "s", [longest], silence, row=case.name, column=name)
        )
    return figures
