"""Brings about one cause after another in a service, each until its alerts are delivered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from operations.drill.processes import RIPTIDE, DrillError, Service
from operations.drill.receiver import AlertKey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from operations.drill.monitoring import Monitoring
    from operations.drill.receiver import WebhookReceiver
    from operations.drill.watch import AlertWatch
    from operations.pace import Pace

# In the time of the rules, like their windows.
DEADLINE_S: Final = 3 * 3600
LONG_WINDOWS_DEADLINE_S: Final = 9 * 3600
# How many steps may load the machine at the same time.
TURNS: Final = 3
# A rate needs two scrapes before the cause begins.
_BEFORE_S: Final = 3
_LOOK_INTERVAL_S: Final = 0.2


class Stage(NamedTuple):
    """The programs that a cause may act on."""

    service: Service
    monitoring: Monitoring


Act = Callable[[Stage], Coroutine[Any, Any, None]]
"""Brings the cause about until cancelled, and then undoes it."""


class Neighbour(Protocol):
    """What runs beside a service for the whole of a scenario."""

    async def start(self, directory: Path) -> None:
        """Start it; ``directory`` is the service's own."""

    async def stop(self) -> None:
        """End it."""


@dataclass(frozen=True, slots=True)
class Step:
    """A cause, and the alerts that it makes fire, each by its name and its window, if it has one.

    The alerts of ``afterwards`` fire after the cause has ended, because their windows are longer
    than the cause lasts.
    """

    cause: str
    act: Act
    alerts: tuple[tuple[str, str], ...]
    afterwards: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """A service under a job name of its own, and the steps that it goes through.

    ``prepare`` writes files into the directory of the service before it starts, and ``beside`` is
    what runs beside it meanwhile.
    """

    job: str
    steps: tuple[Step, ...]
    settings: Mapping[str, object] = field(default_factory=dict)
    command: Sequence[str] = RIPTIDE
    prepare: Callable[[Path], object] = lambda _directory: None
    beside: Sequence[Neighbour] = ()


class Outcome(NamedTuple):
    """What became of one alert; times count in seconds from the cause's begin and end."""

    key: AlertKey
    cause: str
    fired_after: float | None = None
    resolved_after: float | None = None
    firing_delivered: bool = False
    resolution_delivered: bool = False
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether the alert fired and resolved, both were delivered, and nothing went wrong."""
        return (
            not self.note
            and self.fired_after is not None
            and self.resolved_after is not None
            and self.firing_delivered
            and self.resolution_delivered
        )


@dataclass(frozen=True, slots=True)
class World:
    """The parts of the drill that all scenarios share."""

    directory: Path
    pace: Pace
    monitoring: Monitoring
    watch: AlertWatch
    receiver: WebhookReceiver
    say: Callable[[str], None]
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(TURNS))

    async def play(self, scenario: Scenario) -> list[Outcome]:
        """Play a scenario to its end, and return what became of its alerts."""
        service = Service(
            scenario.job,
            self.directory,
            self.monitoring.target_file(scenario.job),
            scenario.settings,
            scenario.command,
        )
        service.directory.mkdir(parents=True, exist_ok=True)
        scenario.prepare(service.directory)
        outcomes: list[Outcome] = []
        try:
            for neighbour in scenario.beside:
                await neighbour.start(service.directory)
            for step in scenario.steps:
                async with self.turns:
                    await self._be_ready(service)
                    began, ended, note = await self._provoke(step, Stage(service, self.monitoring))
                outcomes += await self._wait_for_the_end(step, scenario.job, began, ended, note)
        except DrillError as error:
            self.say(f"{scenario.job}: {error}")
            outcomes += _failed(scenario, len(outcomes), " ".join(str(error).split()))
        finally:
            service.not_be_scraped()
            await service.stop()
            for neighbour in scenario.beside:
                await neighbour.stop()
        return outcomes

    async def _be_ready(self, service: Service) -> None:
        """Start the service and wait until it is scraped, unless it runs already."""
        if not service.running:
            await service.start()
            service.be_scraped()
            await self.monitoring.wait_until_scraped(service.job)
            await asyncio.sleep(_BEFORE_S)

    async def _provoke(self, step: Step, stage: Stage) -> tuple[float, float, str]:
        """Bring the cause about; return when it began and ended, and what went wrong with it."""
        job = stage.service.job
        keys = [AlertKey(name, job, window) for name, window in step.alerts]
        began = time.monotonic()
        self.say(f"{job}: {step.cause}")
        task = asyncio.create_task(step.act(stage))

        def delivered() -> bool:
            return task.done() or all(
                self.receiver.first(key, "firing", began) and self.watch.fired(key, began)
                for key in keys
            )

        await _until(delivered, self.pace.seconds(DEADLINE_S))
        broke_off = task.done() and not task.cancelled()
        task.cancel()
        ended = time.monotonic()
        (end,) = await asyncio.gather(task, return_exceptions=True)
        note = ""
        if broke_off:
            note = f"the cause broke off: {end!r}"
        elif isinstance(end, Exception):
            note = f"the cause could not be undone: {end!r}"
        self.say(f"{job}: over after {ended - began:.0f} s {note}")
        return began, ended, note

    async def _wait_for_the_end(
        self, step: Step, job: str, began: float, ended: float, note: str
    ) -> list[Outcome]:
        keys = [AlertKey(name, job, window) for name, window in (*step.alerts, *step.afterwards)]
        deadline = LONG_WINDOWS_DEADLINE_S if step.afterwards else DEADLINE_S

        def over() -> bool:
            return all(self._resolved(key, began) for key in keys)

        await _until(over, self.pace.seconds(deadline))
        outcomes = [self._outcome(key, step.cause, began, ended, note) for key in keys]
        for outcome in outcomes:
            self.say(f"{job}: {outcome.key.name} {'passed' if outcome.passed else 'FAILED'}")
        return outcomes

    def _resolved(self, key: AlertKey, began: float) -> bool:
        firing = self.receiver.first(key, "firing", began)
        return (
            firing is not None
            and self.watch.silent(key)
            and self.receiver.first(key, "resolved", firing.at) is not None
        )

    def _outcome(self, key: AlertKey, cause: str, began: float, ended: float, note: str) -> Outcome:
        episode = self.watch.fired(key, began)
        firing = self.receiver.first(key, "firing", began)
        resolved = firing and self.receiver.first(key, "resolved", firing.at)
        return Outcome(
            key,
            cause,
            fired_after=episode.began - began if episode else None,
            resolved_after=(
                max(0.0, self.watch.ended(key) - ended)
                if episode and self.watch.silent(key)
                else None
            ),
            firing_delivered=firing is not None,
            resolution_delivered=resolved is not None,
            note=note,
        )


def _failed(scenario: Scenario, played_count: int, note: str) -> list[Outcome]:
    """Return the outcomes of the alerts after the first ``played_count``."""
    return [
        Outcome(AlertKey(name, scenario.job, window), step.cause, note=note)
        for step in scenario.steps
        for name, window in (*step.alerts, *step.afterwards)
    ][played_count:]


async def _until(condition: Callable[[], object], deadline_s: float) -> bool:
    """Wait until a condition holds; return False if it does not hold before the deadline."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_LOOK_INTERVAL_S)
    return True


def require_alerts(scenarios: Sequence[Scenario], names: Sequence[str]) -> None:
    """Check that scenarios provoke exactly these alerts.

    Raises:
        DrillError: an alert has no cause, or is no alert.

    """
    provoked = {
        name
        for scenario in scenarios
        for step in scenario.steps
        for name, _ in (*step.alerts, *step.afterwards)
    }
    if provoked != set(names):
        raise DrillError(f"causes and alerts differ: {sorted(provoked ^ set(names))}")
