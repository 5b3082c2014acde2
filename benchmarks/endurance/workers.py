"""Workers and the process of their log are killed and stopped under load, and nothing is lost.

Some workers share a port. Consumers follow topics over all of them, and publishers publish. One
process after the other is killed (SIGKILL) or stopped (SIGSTOP, until the supervisor kills it), and
in the end all at once. What publishers were told has to be true, and consumers have to get what
the log has: every message once, in one order.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from benchmarks import machine
from benchmarks.endurance.following import Following
from benchmarks.endurance.promises import is_ready, request
from benchmarks.endurance.publishing import Publisher
from benchmarks.figures import Bar, Figure, Result
from benchmarks.service import Server, environment_of, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

TOPICS = ("workers.0", "workers.1", "workers.2")
COMMAND = ["-m", "riptide.cli", "serve"]
WORKER, LOG = "worker", "log"
DEADLINE_S = 120.0
POLL_S = 0.05
# What publishers number their messages with begins at a multiple of this for each of them.
NUMBERS = 10**9
UNACCOUNTED = re.compile(rb"^riptide_streaming_messages_unaccounted\S* (\S+)$", re.MULTILINE)


class Blow(NamedTuple):
    """A signal to a worker or to the process of the log."""

    victim: str
    number: signal.Signals


BLOWS = {
    "worker killed": Blow(WORKER, signal.SIGKILL),
    "log killed": Blow(LOG, signal.SIGKILL),
    "worker stopped": Blow(WORKER, signal.SIGSTOP),
    "log stopped": Blow(LOG, signal.SIGSTOP),
}


class Plan(NamedTuple):
    """How many there are of each, and which blows are dealt in random order."""

    workers: int = 3
    consumers: int = 300
    publishers: int = 50
    pause_s: float = 0.1
    calm_s: float = 1.0
    seed: int = 0
    blows: tuple[str, ...] = ("worker killed", "log killed") * 7 + (
        "worker stopped",
        "log stopped",
    ) * 3


class Wrong(NamedTuple):
    """What came of the blows that should not have."""

    disconnected: int
    stayed_ready: int


def run(plan: Plan, *, progress: bool = False) -> Result:
    """Deal all blows, and compare what all were told with the log."""
    seed = plan.seed or random.SystemRandom().randrange(1, 2**31)
    if progress:
        click.echo(f"seed {seed}")
    with tempfile.TemporaryDirectory() as directory, machine.pinned_to(machine.client_cores()):
        return asyncio.run(_Trial(directory, plan._replace(seed=seed), progress=progress).run())


class _Trial:
    """One service with its clients, through all blows."""

    def __init__(self, directory: str, plan: Plan, *, progress: bool) -> None:
        self._directory = directory
        self._plan = plan
        self._progress = progress
        self._chance = random.Random(plan.seed)  # noqa: S311  # to be repeated, and no secret
        self._service = contextlib.ExitStack()
        self._server = Server(0, 0, None, None)

    async def run(self) -> Result:
        plan = self._plan
        blows = list(plan.blows)
        self._chance.shuffle(blows)
        wrong = []
        seconds: dict[str, list[float]] = {}
        try:
            await self._start(0)
            port = self._server.port
            publishers = [
                Publisher(port, self._topics_of(n), f"publisher {n}", first=n * NUMBERS)
                for n in range(plan.publishers)
            ]
            async with Following([port], plan.consumers, TOPICS) as following:
                async with self._load(publishers):
                    for name in blows:
                        await asyncio.sleep(self._chance.uniform(0.5, 1.5) * plan.calm_s)
                        began = time.monotonic()
                        wrong.append(await self._deal(BLOWS[name], following))
                        seconds.setdefault(name, []).append(time.monotonic() - began)
                        self._say(name, seconds[name][-1], wrong[-1])
                    await asyncio.sleep(plan.calm_s)
                logs = await following.read_logs()
                heads = {topic: max(log, default=0) for topic, log in logs.items()}
                await following.caught_up(heads)
                unaccounted = await asyncio.to_thread(_unaccounted, port)
                figures = [*promises_kept(publishers, logs), *following.figures(logs)]
            after = await self._kill_all(publishers)
        finally:
            await asyncio.to_thread(self._service.close)
        return Result(
            [
                *(
                    Figure(f"{name}: until all were served again", "s", times)
                    for name, times in seconds.items()
                ),
                Figure(
                    "acknowledged and lost once all were killed",
                    "",
                    [lost(publishers, after)],
                    Bar(0),
                ),
                Figure("messages unaccounted for", "", [unaccounted], Bar(0)),
                Figure(
                    "consumers disconnected though their worker lived",
                    "",
                    [sum(each.disconnected for each in wrong)],
                    Bar(0),
                ),
                Figure(
                    "times workers stayed ready with a log that was stopped",
                    "",
                    [sum(each.stayed_ready for each in wrong)],
                    Bar(0),
                ),
                *figures,
            ],
            plan._asdict() | {"blows": len(blows)},
        )

    @contextlib.asynccontextmanager
    async def _load(self, publishers: Sequence[Publisher]) -> AsyncIterator[None]:
        over = asyncio.Event()

        async def publish(publisher: Publisher) -> None:
            async with publisher.publishing(1, self._plan.pause_s):
                await over.wait()

        publishing = [asyncio.create_task(publish(each)) for each in publishers]
        try:
            yield
        finally:
            over.set()
            await asyncio.gather(*publishing)

    def _topics_of(self, number: int) -> Sequence[str]:
        """Return the topics, of which each publisher begins with another one."""
        first = number % len(TOPICS)
        return TOPICS[first:] + TOPICS[:first]

    async def _start(self, port: int) -> None:
        environment = environment_of(
            port=port,
            log="sqlite",
            data_dir=self._directory,
            workers=self._plan.workers,
            retry_seconds=0.5,
            heartbeat_seconds=1,
            max_connections=10_000,
        )
        self._server = await asyncio.to_thread(
            self._service.enter_context, running(COMMAND, environment)
        )
        await self._until(self._is_whole)

    async def _deal(self, blow: Blow, following: Following) -> Wrong:
        """Deal a blow, and wait until all processes and all consumers are there again."""
        victim = self._chance.choice(self._processes(blow.victim))
        here = {f: f.connection for f in following.followers if f.connection is not None}
        doomed = _peers_of(victim, self._server.port) if blow.victim == WORKER else set[int]()
        bystanders = {
            follower: connection
            for follower, connection in here.items()
            if connection.transport.get_extra_info("sockname")[1] not in doomed
        }
        os.kill(victim, blow.number)
        stayed_ready = 0
        if blow == BLOWS["log stopped"]:
            stayed_ready = 1 - await self._until(self._is_unready, victim)
        await self._until(lambda: victim not in self._processes(blow.victim))
        await self._until(self._is_whole)
        cursors = [follower.account.cursor for follower in following.followers]
        # Everybody is given messages again.
        await self._until(
            lambda: all(
                follower.account.cursor > cursor
                for follower, cursor in zip(following.followers, cursors, strict=True)
            )
        )
        return Wrong(
            sum(follower.connection is not now for follower, now in bystanders.items()),
            stayed_ready,
        )

    async def _kill_all(self, publishers: Sequence[Publisher]) -> Mapping[str, Mapping[int, int]]:
        """Kill the supervisor and all its children under load, and return the log that is left."""
        port = self._server.port
        async with self._load(publishers):
            await asyncio.sleep(self._plan.calm_s)
            for pid in (self._server.pid, *_children(self._server.pid)):
                os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(self._service.close)
        await self._start(port)
        return await Following([port], 0, TOPICS).read_logs()

    def _processes(self, kind: str) -> list[int]:
        module = b"riptide.workers.log_process" if kind == LOG else b"riptide.workers.worker"
        return [pid for pid in _children(self._server.pid) if module in _command(pid)]

    def _is_whole(self) -> bool:
        there = len(self._processes(WORKER)), len(self._processes(LOG))
        if there != (self._plan.workers, 1):
            return False
        return _ports(self._server.port) == self._plan.workers and is_ready(self._server.port)

    def _is_unready(self) -> bool:
        return not is_ready(self._server.port)

    async def _until(self, condition: Callable[[], bool], alive: int | None = None) -> bool:
        """Wait for a condition; return False if the process ``alive`` ends before it comes.

        Raises:
            RuntimeError: it does not come.

        """
        deadline = time.monotonic() + DEADLINE_S
        while not await asyncio.to_thread(condition):
            if alive is not None and not _command(alive):
                return False
            if time.monotonic() > deadline:
                raise RuntimeError("not all processes and consumers came back")
            await asyncio.sleep(POLL_S)
        return True

    def _say(self, name: str, seconds: float, wrong: Wrong) -> None:
        if self._progress:
            click.echo(f"{name}: {seconds:.1f} s, {wrong}")


def _children(pid: int) -> list[int]:
    try:
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _command(pid: int) -> bytes:
    """Return the command of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _peers_of(pid: int, port: int) -> set[int]:
    """Return the ports from which clients are connected to a process at its port."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(str(descriptor.readlink()).strip("socket:[]"))
    ours = f":{port:04X}"
    return {
        int(fields[2].rpartition(":")[2], 16)
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if (fields := line.split())[1].endswith(ours) and fields[9] in inodes
    }


def _ports(port: int) -> int:
    """Return how many workers the service says it has."""
    try:
        return request(port, "GET", "/metrics/targets")[1].count(b'"targets"')
    except OSError:
        return 0


def _unaccounted(port: int) -> float:
    page = request(port, "GET", "/metrics")[1]
    return sum(map(float, UNACCOUNTED.findall(page)))


def lost(publishers: Sequence[Publisher], logs: Mapping[str, Mapping[int, int]]) -> int:
    """Return how many messages were acknowledged and are not in the log."""
    kept = {(topic, number) for topic, log in logs.items() for number in log.values()}
    return len({each for publisher in publishers for each in publisher.acknowledged} - kept)


def promises_kept(
    publishers: Sequence[Publisher], logs: Mapping[str, Mapping[int, int]]
) -> list[Figure]:
    """Return what publishers were told, and how often it was not true."""
    refused = {number for publisher in publishers for number in publisher.refused_numbers}
    doubled = reordered = kept_though_refused = 0
    for log in logs.values():
        counts = Counter(log.values())
        doubled += sum(count - 1 for count in counts.values())
        kept_though_refused += len(refused & counts.keys())
        newest: dict[int, int] = {}
        for _, number in sorted(log.items()):
            publisher = number // NUMBERS
            reordered += number < newest.get(publisher, 0)
            newest[publisher] = number
    wrong = {
        "acknowledged and lost": lost(publishers, logs),
        '"was not published", and kept': kept_though_refused,
        "kept twice": doubled,
        "kept in another order": reordered,
    }
    return [
        Figure("messages acknowledged", "", [sum(len(p.acknowledged) for p in publishers)]),
        Figure("messages refused", "", [len(refused)]),
        Figure("messages of unknown outcome", "", [sum(p.uncertain for p in publishers)]),
        *(Figure(name, "", [count], Bar(0)) for name, count in wrong.items()),
    ]
