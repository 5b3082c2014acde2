"""``python -m benchmarks``: runs the benchmarks of telemetry, or those that are named."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Protocol

import click

from benchmarks import (
    catch_up,
    cluster_delivery,
    cluster_publishing,
    cluster_resume,
    cluster_topics,
    cores,
    durable,
    export,
    fixed_rate,
    flat_out,
    idle,
    latency,
    memory,
    middleware,
    recording,
    report,
    scrape,
    spread,
    stalled,
    storm,
    throughput,
)

if TYPE_CHECKING:
    from benchmarks.figures import Result


class Benchmark(Protocol):
    """The function ``run`` of each benchmark's module."""

    def __call__(self, *, quick: bool) -> Result:
        """Measure; ``quick`` asks for tiny sizes, which only show that the benchmark runs."""
        ...


TELEMETRY: dict[str, Benchmark] = {
    "recording": recording.run,
    "memory": memory.run,
    "throughput": throughput.run,
    "middleware": middleware.run,
    "scrape": scrape.run,
    "latency": latency.run,
    "export": export.run,
}
DELIVERY: dict[str, Benchmark] = {
    "flat-out": flat_out.run,
    "fixed-rate": fixed_rate.run,
    "idle": idle.run,
    "stalled": stalled.run,
    "storm": storm.run,
    "durable": durable.run,
}
LOG: dict[str, Benchmark] = {"catch_up": catch_up.run}
WORKERS: dict[str, Benchmark] = {"cores": cores.run, "spread": spread.run}
CLUSTER: dict[str, Benchmark] = {
    "cluster-publishing": cluster_publishing.run,
    "cluster-delivery": cluster_delivery.run,
    "cluster-topics": cluster_topics.run,
    "cluster-resume": cluster_resume.run,
}
GROUPS = {
    "telemetry": TELEMETRY,
    "delivery": DELIVERY,
    "log": LOG,
    "workers": WORKERS,
    "cluster": CLUSTER,
}
BENCHMARKS = TELEMETRY | DELIVERY | LOG | WORKERS | CLUSTER


@click.command()
@click.argument("names", metavar="[NAME]...", type=click.Choice([*GROUPS, *BENCHMARKS]), nargs=-1)
@click.option("--quick", is_flag=True, help="Tiny sizes: shows that it runs, measures nothing.")
@click.option(
    "--json",
    "records",
    type=click.File("ab"),
    help="Append one line of JSON a benchmark to this file.",
)
def main(names: tuple[str, ...], records: BinaryIO | None, *, quick: bool) -> None:
    """Measure what Riptide costs and how it delivers, beside its peers.

    A NAME is a benchmark or a group of benchmarks: telemetry (the default), delivery, log,
    workers or cluster. Each benchmark prints a table of its figures and their bars.
    """
    chosen = [one for given in names or ["telemetry"] for one in GROUPS.get(given, [given])]
    for name in dict.fromkeys(chosen):
        begun = report.Moment.now()
        result = BENCHMARKS[name](quick=quick)
        entry = report.record(name, result, begun, quick=quick)
        click.echo(f"\n## {name}\n\n{entry['command']}\n\n{report.table(result.figures)}")
        for left_out, why in result.left_out.items():
            click.echo(f"\nLeft out: {left_out}: {why}")
        if records is not None:
            records.write(report.json_line(entry))
            records.flush()


if __name__ == "__main__":
    main()
