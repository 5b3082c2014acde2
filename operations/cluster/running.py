"""Runs the parts of a cluster, starts again what has ended, and ends them all."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx2

from operations.cluster import parts
from operations.cluster.parts import ClusterError
from operations.processes import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from operations.cluster.parts import Part, Programs
    from operations.cluster.ports import Ports

# Three servers elect a leader in 4 to 9 s; a machine that does other things needs more.
_START_DEADLINE_S: Final = 120
_LOOK_S: Final = 0.2
_ANSWER_S: Final = 5
# What has ended stays away for so long, so that whoever ended it sees what that does.
_AWAY_S: Final = 5
_LOG_BYTES: Final = 2_000


class RunningPart:
    """A part and its process, which is another one after each start."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.process: Process | None = None

    @property
    def pid(self) -> int:
        """The id of the process; 0 if there is none."""
        return 0 if self.process is None else self.process.pid

    def start(self) -> Process:
        """Start it, and wait for nothing."""
        self.process = Process(
            self.part.command, self.part.directory, self.part.environment, apart=True
        )
        return self.process

    async def wait_until_ready(self) -> None:
        """Wait until the part does what it is for.

        Raises:
            ClusterError: it has ended, or is not ready in time; the text has the end of its log.

        """
        deadline = time.monotonic() + _START_DEADLINE_S
        while not await self._is_ready():
            if self.process is None or not self.process.running:
                raise ClusterError(f"{self.part.name} did not start:\n{self._log()}")
            if time.monotonic() > deadline:
                raise ClusterError(f"{self.part.name} does not get ready:\n{self._log()}")
            await asyncio.sleep(_LOOK_S)

    async def _is_ready(self) -> bool:
        if not self.part.ready:
            return await asyncio.to_thread(_listens, self.part.url)
        with contextlib.suppress(httpx2.HTTPError):
            async with httpx2.AsyncClient(timeout=_ANSWER_S, trust_env=False) as client:
                answer = await client.get(self.part.url + self.part.ready)
                return answer.status_code == httpx2.codes.OK
        return False

    def _log(self) -> str:
        if self.process is None:
            return ""
        return self.process.log_file.read_text(errors="replace")[-_LOG_BYTES:]


class RunningCluster:
    """Three servers of NATS, three instances, a load balancer and Prometheus, in a directory."""

    def __init__(self, ports: Ports, directory: Path, programs: Programs) -> None:
        self._servers = [
            RunningPart(parts.server(number, ports, directory, programs))
            for number in range(len(ports.servers))
        ]
        self._instances = [
            RunningPart(parts.instance(number, ports, directory))
            for number in range(len(ports.instances))
        ]
        self.balancer = RunningPart(parts.balancer(ports, directory, programs))
        self.prometheus = RunningPart(parts.prometheus(ports, directory, programs))
        # What has ended, and starts again.
        self._away: dict[RunningPart, asyncio.Task[None]] = {}

    @property
    def servers(self) -> Sequence[RunningPart]:
        """The servers of NATS."""
        return self._servers

    @property
    def instances(self) -> Sequence[RunningPart]:
        """The instances of Riptide."""
        return self._instances

    async def start(self) -> None:
        """Start all parts; return once all are ready.

        Raises:
            ClusterError: one of them does not start.

        """
        # An instance waits for half a minute for servers that have no leader yet, but no longer.
        for stage in (self._servers, self._instances, [self.balancer, self.prometheus]):
            for each in stage:
                each.start()
            for each in stage:
                await each.wait_until_ready()

    async def watch(self, say: Callable[[str], None]) -> None:
        """Start again what has ended, and say so, until cancelled."""
        try:
            while True:
                for each in self._all():
                    if each not in self._away and each.process and not each.process.running:
                        how = _ending(each.process)
                        say(f"{each.part.name} has ended ({how}). It starts again in {_AWAY_S} s.")
                        self._away[each] = asyncio.create_task(self._bring_back(each, say))
                await asyncio.sleep(_LOOK_S)
        finally:
            for task in self._away.values():
                task.cancel()
            await asyncio.gather(*self._away.values(), return_exceptions=True)

    async def stop(self) -> None:
        """End all parts, instances first, which end their streams in an orderly way."""
        stages = (self._instances, [self.balancer, self.prometheus], self._servers)
        for stage in stages:
            await asyncio.gather(*(each.process.stop() for each in stage if each.process))

    def kill(self) -> None:
        """Kill all parts."""
        for each in self._all():
            if each.process is not None:
                each.process.kill()

    async def _bring_back(self, each: RunningPart, say: Callable[[str], None]) -> None:
        await asyncio.sleep(_AWAY_S)
        process = each.start()
        try:
            await each.wait_until_ready()
        except ClusterError as error:
            say(str(error))
        else:
            say(f"{each.part.name} is ready again: process {process.pid}")
        finally:
            self._away.pop(each, None)

    def _all(self) -> list[RunningPart]:
        return [*self._servers, *self._instances, self.balancer, self.prometheus]


def _listens(url: str) -> bool:
    address = urlsplit(url)
    with (
        contextlib.suppress(OSError),
        socket.create_connection((address.hostname or "", address.port or 0), _ANSWER_S),
    ):
        return True
    return False


def _ending(process: Process) -> str:
    code = process.exit_code or 0
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
