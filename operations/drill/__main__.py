"""``python -m operations.drill``: makes every alert fire for its real cause, and resolve again."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from operations.alerts import alerts
from operations.cluster.nats import nats_server
from operations.drill import table
from operations.drill.monitoring import Monitoring
from operations.drill.processes import DrillError
from operations.drill.receiver import AlertKey, WebhookReceiver
from operations.drill.scenario import Outcome, World, require_alerts
from operations.drill.scenarios import (
    clusters,
    full_disk,
    hanging_disk,
    scenarios,
    wrong_clock,
)
from operations.drill.watch import AlertWatch
from operations.faulty_disk.disk import find_compiler
from operations.pace import Pace
from operations.rules import Alert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from operations.drill.scenario import Scenario

FACTOR: Final = 60
"""A minute of the rules is a second of the drill: windows, ``for`` and waits are divided by it."""
WATCHDOG: Final = AlertKey("RiptideWatchdog")
# Alertmanager keeps an alert for four times the interval at which Prometheus sends it again.
_SILENCE_S: Final = 10
_SWITCH_DEADLINE_S: Final = 60


@click.command()
@click.option("--only", multiple=True, metavar="JOB", help="Play only the scenario of this job.")
@click.option(
    "--factor",
    type=click.IntRange(10, 60),
    default=FACTOR,
    show_default=True,
    help="How many times as fast as written the rules are; a busy machine needs a lower factor.",
)
def main(only: tuple[str, ...], factor: int) -> None:
    """Make every alert fire for its real cause, and resolve again; end with a table.

    Prometheus, Alertmanager, services, clients and thresholds are real; only time is compressed,
    60 to 1: a window of 5 minutes is one of 5 seconds. The drill takes about 7 minutes.
    """
    chosen = [each for each in scenarios() if not only or each.job in only]
    try:
        if not only:
            names = {rule.name for group in alerts() for rule in group.rules if _is_alert(rule)}
            require_alerts(chosen, sorted(names - {WATCHDOG.name}))
        if os.geteuid() != 0:
            click.echo("The scenario disk is left out: only root can mount a small disk.", err=True)
            chosen = [each for each in chosen if each.job != full_disk().job]
        if find_compiler() is None:
            click.echo("The scenarios hang and clock are left out: no C compiler.", err=True)
            left_out = {hanging_disk().job, wrong_clock().job}
            chosen = [each for each in chosen if each.job not in left_out]
        if nats_server() is None:
            click.echo("The scenarios of a cluster are left out: run make nats.", err=True)
            left_out = {each.job for each in (*clusters(), wrong_clock())}
            chosen = [each for each in chosen if each.job not in left_out]
        outcomes = asyncio.run(_drill(chosen, Pace(factor), to_the_end=not only))
    except DrillError as error:
        raise click.ClickException(str(error)) from None
    click.echo(table.render(outcomes))
    failed = [outcome.key.name for outcome in outcomes if not outcome.passed]
    if failed:
        click.echo(f"{len(failed)} of {len(outcomes)} failed: {', '.join(failed)}", err=True)
        sys.exit(1)
    click.echo(f"All {len(outcomes)} fired for their cause, resolved, and were delivered.")


def _is_alert(rule: object) -> bool:
    return isinstance(rule, Alert)


async def _drill(played: Sequence[Scenario], pace: Pace, *, to_the_end: bool) -> list[Outcome]:
    """Play all scenarios at the same time; ``to_the_end``: then end Prometheus as well."""
    started = time.monotonic()

    def say(text: str) -> None:
        click.echo(f"[{time.monotonic() - started:4.0f} s] {text}", err=True)

    with tempfile.TemporaryDirectory(prefix="riptide-drill-") as name:
        directory = Path(name)
        receiver = WebhookReceiver()
        monitoring = Monitoring(directory, pace, receiver.url)
        try:
            await monitoring.wait_until_ready()
            say(f"Prometheus and Alertmanager are ready, {pace.factor} times as fast as written")
            watch = AlertWatch(monitoring.url)
            watching = asyncio.create_task(watch.run())
            world = World(directory, pace, monitoring, watch, receiver, say)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(world.play(each)) for each in played]
            outcomes = [outcome for task in tasks for outcome in task.result()]
            if to_the_end:
                outcomes.append(await _silence_the_watchdog(world, started))
            watching.cancel()
            return outcomes
        finally:
            monitoring.kill()
            receiver.close()


async def _silence_the_watchdog(world: World, started: float) -> Outcome:
    """End Prometheus, and wait until the watchdog is no longer delivered."""
    say, receiver = world.say, world.receiver
    episode = world.watch.fired(WATCHDOG, started)
    firing = receiver.first(WATCHDOG, "firing", started)
    say("Prometheus ends: the dead man's switch must hear nothing more")
    ended = time.monotonic()
    await world.monitoring.stop_prometheus()
    while (now := time.monotonic()) < ended + _SWITCH_DEADLINE_S:
        if now - receiver.last_at(WATCHDOG) > _SILENCE_S:
            break
        await asyncio.sleep(1)
    silent = time.monotonic() - receiver.last_at(WATCHDOG) > _SILENCE_S
    return Outcome(
        WATCHDOG,
        "always; ends when Prometheus does",
        fired_after=episode.began - started if episode else None,
        resolved_after=max(0.0, receiver.last_at(WATCHDOG) - ended) if silent else None,
        firing_delivered=firing is not None,
        resolution_delivered=silent,
    )


if __name__ == "__main__":
    main()
