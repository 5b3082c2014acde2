"""``python -m benchmarks``: run all benchmarks, or those that are named."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Protocol

import click

from benchmarks import export, latency, memory, middleware, recording, report, scrape, throughput

if TYPE_CHECKING:
    from benchmarks.figures import Result


class Benchmark(Protocol):
    """What each module of a benchmark offers."""

    def __call__(self, *, quick: bool) -> Result:
        """Measure; ``quick`` asks for sizes that only prove that it runs."""
        ...


BENCHMARKS: dict[str, Benchmark] = {
    "recording": recording.run,
    "memory": memory.run,
    "throughput": throughput.run,
    "middleware": middleware.run,
    "scrape": scrape.run,
    "latency": latency.run,
    "export": export.run,
}


@click.command()
@click.argument("names", metavar="[NAME]...", type=click.Choice(list(BENCHMARKS)), nargs=-1)
@click.option("--quick", is_flag=True, help="Tiny sizes: shows that it runs, measures nothing.")
@click.option(
    "--json",
    "records",
    type=click.File("ab"),
    help="Append one line of JSON a benchmark to this file.",
)
def main(names: tuple[str, ...], records: BinaryIO | None, *, quick: bool) -> None:
    """Measure what telemetry costs: recording, memory, throughput, middleware, scrape, latency.

    And what it costs when nobody takes what is exported: export.

    Without a NAME all are run. Each prints a table with its bars.
    """
    for name in names or BENCHMARKS:
        begun = report.Moment.now()
        result = BENCHMARKS[name](quick=quick)
        entry = report.record(name, result, begun, quick=quick)
        click.echo(f"\n## {name}\n\n{entry['command']}\n\n{report.table(result.figures)}")
        if records is not None:
            records.write(report.json_line(entry))
            records.flush()


if __name__ == "__main__":
    main()
