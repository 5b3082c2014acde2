"""``python -m operations.cluster``: runs a cluster on this machine, to try and for tests."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from operations.cluster.parts import RIPTIDE, ClusterError, Programs
from operations.cluster.ports import Ports
from operations.cluster.running import RunningCluster

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from operations.cluster.running import RunningPart


@click.command()
@click.option("--any-ports", is_flag=True, help="Take ports that are free, not the usual ones.")
def main(*, any_ports: bool) -> None:
    """Run a cluster on this machine until Ctrl-C, which ends all of it and deletes its messages.

    Three servers of NATS, three instances of Riptide, Caddy as a load balancer before them, and
    Prometheus with the rules.
    """
    try:
        programs = Programs.found()
        ports = Ports.free() if any_ports else Ports.usual()
        _require_free(ports)
        with tempfile.TemporaryDirectory(prefix="riptide-cluster-") as name:
            asyncio.run(_run(ports, Path(name), programs))
    except ClusterError as error:
        raise click.ClickException(str(error)) from None


def _require_free(ports: Ports) -> None:
    taken = list(ports.taken())
    if taken:
        hint = "End who listens there, or take others: python -m operations.cluster --any-ports"
        raise ClusterError("\n".join((*taken, hint)))


async def _run(ports: Ports, directory: Path, programs: Programs) -> None:
    """Run the cluster until a signal says that it is enough; a second one kills what is left."""
    loop = asyncio.get_running_loop()
    enough, at_once = asyncio.Event(), asyncio.Event()

    def end() -> None:
        (at_once if enough.is_set() else enough).set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end)
    cluster = RunningCluster(ports, directory, programs)
    try:
        click.echo("Starting: servers of NATS need some seconds to elect a leader.")
        if await _unless(enough, cluster.start()):
            click.echo("\n".join(_introduction(cluster, directory)))
            await _unless(enough, cluster.watch(click.echo))
        click.echo("Ending.")
        await _unless(at_once, cluster.stop())
    finally:
        cluster.kill()


async def _unless(event: asyncio.Event, work: Coroutine[object, object, None]) -> bool:
    """Do some work and return True; if the event comes before, cancel the work and return False."""
    working = asyncio.create_task(work)
    waiting = asyncio.create_task(event.wait())
    done, others = await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    if working in done:
        await working
    return working in done


def _introduction(cluster: RunningCluster, directory: Path) -> Iterator[str]:
    balancer, prometheus = cluster.balancer.part.url, cluster.prometheus.part.url
    _, other, _ = cluster.instances
    yield ""
    yield f"Riptide        {balancer}   whichever instance is ready"
    yield from map(_line, cluster.instances)
    yield from map(_line, cluster.servers)
    yield _line(cluster.prometheus)
    riptide = os.path.relpath(RIPTIDE)
    yield f"""
In other terminals:

  {riptide} tail news --url {balancer}
      A consumer of some instance.
  date | {riptide} publish news --url {other.part.url}
      A message at instance 2, for the consumers of all.
  kill -9 {other.pid}
      Instance 2 dies: its consumers go on at another one, without a gap. It starts again.
  kill -9 {cluster.servers[0].pid}
      A server of NATS dies: if it led the stream, publishes wait some seconds for another leader.
  {prometheus}/targets and {prometheus}/alerts
      What Prometheus sees of it.

Logs: {directory}/*/log
Ctrl-C ends all of it, and deletes the messages and the logs.
"""


def _line(running: RunningPart) -> str:
    return f"{running.part.name:<14} {running.part.url}   process {running.pid}"


if __name__ == "__main__":
    main()
