"""``python -m benchmarks.growth``: prints tables of what the log costs as it grows."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from benchmarks import catch_up, report
from benchmarks.growth import commits, size, trims, written

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.figures import Result

TABLES: dict[str, Callable[..., Result]] = {
    "topics": size.topics,
    "messages": size.messages,
    "trims": trims.run,
    "written": written.run,
    "commits": commits.run,
    "catch_up": catch_up.run,
}


@click.command()
@click.argument("names", metavar="[NAME]...", type=click.Choice([*TABLES]), nargs=-1)
@click.option("--quick", is_flag=True, help="Tiny sizes: shows that it runs, measures nothing.")
@click.option(
    "--baseline",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The Python of another checkout (.venv/bin/python), to compare commits with.",
)
@click.option(
    "--json",
    "records",
    type=click.File("ab"),
    help="Append one line of JSON a table to this file.",
)
def main(
    names: tuple[str, ...], baseline: Path | None, records: BinaryIO | None, *, quick: bool
) -> None:
    """Measure what the log costs as topics and messages become many, and as they expire.

    A NAME is a table: topics, messages, trims, written, commits or catch_up; all by default. The
    command exits with 1 if a bar is missed.
    """
    missed = False
    for name in names or TABLES:
        table = TABLES[name]
        if name == "commits":
            table = functools.partial(table, baseline=baseline)
        begun = report.Moment.now()
        result = table(quick=quick)
        entry = report.record(name, result, begun, quick=quick)
        entry["command"] = f"python -m benchmarks.growth {name}{' --quick' if quick else ''}"
        click.echo(f"\n## {name}\n\n{entry['command']}\n\n{report.table(result.figures)}")
        for left_out, why in result.left_out.items():
            click.echo(f"\nLeft out: {left_out}: {why}")
        if records is not None:
            records.write(report.json_line(entry))
            records.flush()
        missed |= any(figure.verdict == "missed" for figure in result.figures)
    sys.exit(missed and not quick)


if __name__ == "__main__":
    main()
