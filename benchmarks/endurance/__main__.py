"""``python -m benchmarks.endurance``: puts a service under stress of one kind."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from benchmarks import report
from benchmarks.endurance import churn, damage, faults, restart, storm, workers
from benchmarks.endurance.cluster import matrix, network
from benchmarks.endurance.cluster.cases import CASES

if TYPE_CHECKING:
    from benchmarks.figures import Result


@click.group()
def main() -> None:
    """Put a service under stress, and print the results; exit with 1 if a bar is missed."""


@main.command("churn")
@click.option("--minutes", type=float, default=30, show_default=True, help="How long.")
@click.option("--warm-up", type=float, default=5, show_default=True, help="Minutes before that.")
@click.option("--clients", type=int, default=200, show_default=True, help="How many at a time.")
def churn_command(minutes: float, warm_up: float, clients: int) -> None:
    """Consumers connect, read and disconnect, on all transports."""
    _show(churn.run(churn.Plan(clients, minutes * 60, warm_up * 60), progress=True))


@main.command("storm")
@click.option("--consumers", type=int, default=5_000, show_default=True, help="How many.")
@click.option("--storms", type=int, default=3, show_default=True, help="How often.")
def storm_command(consumers: int, storms: int) -> None:
    """All consumers lose their connection at once and come back at once."""
    _show(storm.run(storm.Plan(consumers, storms)))


@main.command("restart")
@click.option("--consumers", type=int, default=1_000, show_default=True, help="How many.")
@click.option("--restarts", type=int, default=3, show_default=True, help="How often.")
def restart_command(consumers: int, restarts: int) -> None:
    """Restart the service while clients publish and read."""
    _show(restart.run(restart.Plan(consumers, restarts)))


@main.command("damage")
@click.option("--images", type=int, default=1_000, show_default=True, help="How many.")
def damage_command(images: int) -> None:
    """Read images of a log with a flipped bit or a torn tail."""
    _show(damage.run(damage.Plan(images)))


@main.command("faults")
@click.option("--rounds", type=int, default=5, show_default=True, help="Of each kind of fault.")
@click.option("--seconds", type=float, default=8, show_default=True, help="A fault's longest time.")
@click.option("--seed", type=int, default=0, help="Repeats a run; its seed is printed first.")
@click.option(
    "--kind",
    "kinds",
    type=click.Choice([*faults.KINDS]),
    multiple=True,
    default=[*faults.KINDS],
    help="Only this kind of fault; may be given several times.  [default: all]",
)
def faults_command(rounds: int, seconds: float, seed: int, kinds: tuple[str, ...]) -> None:
    """Publish while the disk fails and the service is killed, and check what was promised."""
    _show(faults.run(faults.Plan(rounds, seconds, seed, kinds), progress=True))


@main.command("workers")
@click.option("--rounds", type=int, default=1, show_default=True, help="Of 20 blows each.")
@click.option("--seed", type=int, default=0, help="Repeats a run; its seed is printed first.")
def workers_command(rounds: int, seed: int) -> None:
    """Kill and stop workers that share a log, and the log's process, while clients use them."""
    plan = workers.Plan(seed=seed)
    _show(workers.run(plan._replace(blows=plan.blows * rounds), progress=True))


@main.command("cluster")
@click.option("--rounds", type=int, default=1, show_default=True, help="Of each fault.")
@click.option(
    "--fault",
    "names",
    type=click.Choice([*CASES]),
    multiple=True,
    default=[*CASES],
    help="Only this fault; may be given several times.  [default: all]",
)
def cluster_command(rounds: int, names: tuple[str, ...]) -> None:
    """Do harm to a cluster of NATS, to instances and to the network between them under load."""
    if not network.is_inside():
        reason = network.reason_against()
        if reason is not None:
            raise click.ClickException(f"there can be no network of machines here: {reason}")
        network.go_inside(["-m", "benchmarks.endurance", *sys.argv[1:]])
    _show(matrix.run(matrix.Plan(names, rounds), progress=True))


def _show(result: Result) -> None:
    click.echo(", ".join(f"{name} {value}" for name, value in result.parameters.items()))
    click.echo(report.table(result.figures))
    for name, reason in result.left_out.items():
        click.echo(f"left out: {name}: {reason}")
    sys.exit(any(figure.verdict == "missed" for figure in result.figures))


if __name__ == "__main__":
    main()
