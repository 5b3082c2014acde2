"""The disk of a log becomes bad, the service is killed, and what publishers were told must be true.

Each round has one fault. While publishers publish, the disk becomes bad at a random moment, and
good again a few seconds later; or the service is killed before that. Then it starts on a sound
disk, and every message is looked for.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import random
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import click

from benchmarks import machine
from benchmarks.endurance.promises import Promises, PublishingMeanwhile, Verdict, is_ready, read
from benchmarks.figures import Bar, Figure, Result
from benchmarks.service import environment_of, running
from operations.faulty_disk.disk import (
    ANY,
    DATABASE,
    HANG,
    IO_ERROR,
    WAL,
    Call,
    Fault,
    FaultyDisk,
    build,
)
from operations.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

COMMAND = ["-m", "riptide.cli", "serve"]
PUBLISHERS = 4
POLL_S = 0.02
# What a round waits for at most: for the service to say that it is not ready, and to be ready.
RECOVERY_DEADLINE_S = 120.0


class Kind(NamedTuple):
    """A kind of fault: the calls on these files meet it."""

    pattern: str
    calls: tuple[Call, ...]
    fault: Fault
    # True if the service has to become unready within the time of a round.
    shows: bool = True


KINDS = {
    "syncs fail": Kind(WAL, (Call.SYNC,), IO_ERROR),
    "syncs find no room": Kind(WAL, (Call.SYNC,), Fault(errno.ENOSPC)),
    "syncs hang": Kind(WAL, (Call.SYNC,), HANG),
    "syncs take 50 ms": Kind(WAL, (Call.SYNC,), Fault(delay_s=0.05), shows=False),
    "writes fail": Kind(WAL, (Call.WRITE,), IO_ERROR),
    "writes are torn": Kind(WAL, (Call.WRITE,), Fault(errno.EIO, part_bytes=1000)),
    "writes hang": Kind(WAL, (Call.WRITE,), HANG),
    "writes are short": Kind(ANY, (Call.WRITE,), Fault(part_bytes=1000), shows=False),
    "no room": Kind(ANY, (Call.WRITE, Call.ALLOCATE), Fault(errno.ENOSPC)),
    "quota used up": Kind(ANY, (Call.WRITE, Call.ALLOCATE), Fault(errno.EDQUOT)),
    "read-only": Kind(ANY, (Call.WRITE, Call.TRUNCATE, Call.ALLOCATE), Fault(errno.EROFS)),
    "database: writes fail": Kind(DATABASE, (Call.WRITE,), IO_ERROR, shows=False),
    "database: syncs fail": Kind(DATABASE, (Call.SYNC,), IO_ERROR, shows=False),
    "reads fail": Kind(ANY, (Call.READ,), IO_ERROR),
}


class Plan(NamedTuple):
    """How often each kind of fault is tried, and for how long at most."""

    rounds: int = 5
    seconds: float = 8.0
    seed: int = 0
    kinds: tuple[str, ...] = tuple(KINDS)


class Round(NamedTuple):
    """What came of one round.

    ``unready_s`` is None if the service stayed ready, and ``recovered_s`` if it was killed early.
    """

    verdict: Verdict
    unready_s: float | None
    recovered_s: float | None


def run(plan: Plan, *, progress: bool = False) -> Result:
    """Try all faults in random order, and judge what publishers were told.

    Raises:
        FaultyDiskError: there is no compiler.
        RuntimeError: the service did not start on a sound disk, or could not be read there.

    """
    seed = plan.seed or random.SystemRandom().randrange(1, 2**31)
    chance = random.Random(seed)  # noqa: S311  # to be repeated, and no secret
    order = [name for name in plan.kinds for _ in range(plan.rounds)]
    chance.shuffle(order)
    if progress:
        click.echo(f"seed {seed}")
    rounds: dict[str, list[Round]] = {}
    with tempfile.TemporaryDirectory() as directory, machine.pinned_to(machine.client_cores()):
        trial = Trial(Path(directory), plan.seconds, chance)
        for number, name in enumerate(order):
            done = trial.round(number, KINDS[name])
            rounds.setdefault(name, []).append(done)
            if progress:
                click.echo(f"{number + 1} of {len(order)}: {name}: {done}")
        final = trial.judge_all()
    return Result([*_figures(rounds), *_summary(rounds, final)], plan._asdict() | {"seed": seed})


class Trial:
    """One log, through all rounds."""

    def __init__(self, directory: Path, seconds: float, chance: random.Random) -> None:
        self._directory = directory
        self._library = build(directory)
        self._seconds = seconds
        self._chance = chance
        self._port = free_port()
        self._all: list[Promises] = []

    def round(self, number: int, kind: Kind) -> Round:
        """Let the fault come and go; return whether what was said was true."""
        promises = [Promises(f"round-{number}.{n}") for n in range(PUBLISHERS)]
        self._all += promises
        disk = FaultyDisk(self._directory / "data", self._library, self._directory / "table")
        unready_s = recovered_s = None
        with self._service(disk.environment) as life:
            with PublishingMeanwhile(self._port, promises):
                time.sleep(self._chance.uniform(0.2, 0.6))
                begun = time.monotonic()
                disk.disturb(
                    kind.pattern, *kind.calls, fault=kind.fault, after=self._chance.randrange(50)
                )
                if self._wait(lambda: not is_ready(self._port), self._seconds):
                    unready_s = time.monotonic() - begun
                is_killed_early = self._chance.random() < 0.5  # noqa: PLR2004  # of all rounds
                if is_killed_early:
                    life.kill()
                disk.heal()
                if not is_killed_early:
                    recovered_s = self._recover(life, promises)
                    time.sleep(self._chance.uniform(0.1, 0.4))
                    life.kill()
            disk.forget_the_dead()
        with self._service({}):
            verdict = self._judge(promises)
        return Round(verdict, unready_s, recovered_s)

    def judge_all(self) -> Verdict:
        """Look for the messages of all rounds once more."""
        with self._service({}):
            return self._judge(self._all)

    def _judge(self, promises: list[Promises]) -> Verdict:
        verdicts = [each.judge(read(self._port, each.topic)) for each in promises]
        return Verdict(*map(sum, zip(*verdicts, strict=True)))

    def _recover(self, life: Life, promises: list[Promises]) -> float:
        """Return how long the service took after the fault until it was ready and acknowledged.

        That is infinite if it never does.
        """
        begun = time.monotonic()
        before = _acknowledged(promises)

        def has_recovered() -> bool:
            life.revive()
            return _acknowledged(promises) > before and is_ready(self._port)

        if self._wait(has_recovered, RECOVERY_DEADLINE_S):
            return time.monotonic() - begun
        return math.inf

    @staticmethod
    def _wait(condition: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    def _service(self, environment: dict[str, str]) -> Life:
        return Life(
            environment_of(port=self._port, log="sqlite", data_dir=self._directory / "data")
            | environment
        )


class Life:
    """A service within this context, which may be killed and started again."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._stack = contextlib.ExitStack()
        self._pid = 0

    def __enter__(self) -> Self:
        """Start it."""
        self._pid = self._stack.enter_context(running(COMMAND, self._environment)).pid
        return self

    def __exit__(self, *_: object) -> None:
        """Ask it to end."""
        self._stack.close()

    def kill(self) -> None:
        """End it without asking."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)

    def revive(self) -> None:
        """Start it again if it has ended by itself, as a supervisor would."""
        if os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            self._stack.close()
            self.__enter__()


def _acknowledged(promises: list[Promises]) -> int:
    return sum(len(each.acknowledged) for each in promises)


def _figures(rounds: dict[str, list[Round]]) -> list[Figure]:
    """Return a row for each fault; its counts are sums, and its times the longest."""
    figures = []
    for name in (name for name in KINDS if name in rounds):
        verdict = Verdict(*map(sum, zip(*(each.verdict for each in rounds[name]), strict=True)))
        cells: dict[str, tuple[str, float | None]] = {
            "rounds": ("", len(rounds[name])),
            "acknowledged": ("", verdict.acknowledged),
            "lost": ("", verdict.lost),
            "delivered though refused": ("", verdict.delivered_though_refused),
            "unready after": ("s", _longest([each.unready_s for each in rounds[name]])),
            "recovered after": ("s", _longest([each.recovered_s for each in rounds[name]])),
        }
        figures += [
            Figure(f"{name}: {column}", unit, [value], row=name, column=column)
            for column, (unit, value) in cells.items()
            if value is not None
        ]
    return figures


def _longest(seconds: list[float | None]) -> float | None:
    return max((each for each in seconds if each is not None), default=None)


def _summary(rounds: dict[str, list[Round]], verdict: Verdict) -> list[Figure]:
    unseen = sum(
        each.unready_s is None
        for name, done in rounds.items()
        if KINDS[name].shows
        for each in done
    )
    broken = sum(each.recovered_s == math.inf for done in rounds.values() for each in done)
    return [
        Figure("messages acknowledged", "", [verdict.acknowledged]),
        Figure("acknowledged and lost", "", [verdict.lost], Bar(0)),
        Figure(
            '"was not published", and delivered', "", [verdict.delivered_though_refused], Bar(0)
        ),
        Figure("delivered twice", "", [verdict.doubled], Bar(0)),
        Figure("rounds in which the service stayed ready on a bad disk", "", [unseen], Bar(0)),
        Figure("rounds after which the service did not recover", "", [broken], Bar(0)),
    ]
