"""Three servers and three instances, each on its machine, for one fault."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Self

import orjson

from benchmarks.endurance.cluster.instances import Instance
from benchmarks.endurance.cluster.lossy_way import LossyWay
from benchmarks.endurance.cluster.network import Network
from benchmarks.endurance.cluster.servers import CLIENTS, Servers
from riptide.message import NANOSECONDS
from riptide.storage.jetstream.options import JetStreamOptions
from riptide.storage.jetstream.stream import wanted
from riptide.storage.jetstream.subjects import Subjects
from riptide.storage.message_log import Retention

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks.endurance.cluster.load import Load
    from benchmarks.endurance.cluster.network import Machine
    from benchmarks.endurance.place import Place

STREAM = "matrix"
SERVERS, INSTANCES = 3, 3
SETTINGS: dict[str, object] = {
    "log": "jetstream",
    "jetstream_stream": STREAM,
    "heartbeat_seconds": 1,
    "retry_seconds": 0.3,
    "drain_seconds": 0,
}


class Trial:
    """All that a fault may be done to, within this context."""

    def __init__(
        self, directory: Path, library: Path, *, limits: str = "", settings: Mapping[str, object]
    ) -> None:
        """``limits`` are of JetStream at each server, ``settings`` of the instances."""
        directory.mkdir()
        self._directory = directory
        self._library = library
        self._limits = limits
        self._settings = settings
        self._stack = contextlib.AsyncExitStack()
        self.network = Network(SERVERS + INSTANCES)
        self.servers: Servers
        self.instances: list[Instance] = []
        # A way of the last instance to a server, of which it makes use if it is told to.
        self.lossy_way: LossyWay
        self.load: Load

    async def __aenter__(self) -> Self:
        """Start the servers; ``prepare`` starts the instances."""
        async with self._stack as stack:
            stack.enter_context(self.network)
            machines = self.network.machines
            servers = Servers(machines[:SERVERS], self._directory, STREAM, limits=self._limits)
            self.servers = stack.enter_context(servers)
            await self.servers.wait_until_it_answers()
            way = LossyWay((machines[0].address, CLIENTS), random.Random(1))  # noqa: S311  # to be repeated
            self.lossy_way = await stack.enter_async_context(way)
            settings = (
                SETTINGS | {"jetstream_urls": ",".join(self.servers.urls)} | {**self._settings}
            )
            for n, machine in enumerate(machines[SERVERS:]):
                home = self._directory / f"instance-{n}"
                instance = Instance(machine, home, self._library, **settings)
                stack.callback(instance.kill)
                self.instances.append(instance)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End all."""
        await self._stack.aclose()

    async def prepare(self, *, stream_age_s: float | None) -> None:
        """Start all instances at once, on a stream that keeps records for so long."""
        if stream_age_s is not None:
            await self._create_stream(stream_age_s)
        await asyncio.gather(*(instance.start() for instance in self.instances))
        await self.servers.until_whole()

    async def _create_stream(self, age_s: float) -> None:
        options = JetStreamOptions(self.servers.urls, STREAM, replicas=SERVERS)
        config = wanted(options, Subjects(STREAM), Retention(1_000_000, age_s))
        question = orjson.dumps(config | {"max_age": int(age_s * NANOSECONDS)})
        created = await self.servers.ask(f"STREAM.CREATE.{STREAM}", question)
        if "config" not in created:
            raise RuntimeError(f"the stream was not created: {created}")

    @property
    def places(self) -> list[Place]:
        """Where the instances are."""
        return [instance.place for instance in self.instances]

    async def leader(self) -> Machine:
        """Return the machine of the stream's leader."""
        return self.servers.machines[await self.servers.leader()]

    def server_machines(self, besides: Machine | None = None) -> list[Machine]:
        """Return the machines of the servers."""
        machines = self.servers.machines.values()
        return [machine for machine in machines if machine is not besides]

    def instance_machines(self, besides: Instance | None = None) -> list[Machine]:
        """Return the machines of the instances."""
        return [each.machine for each in self.instances if each is not besides]

    async def restart(self, instance: Instance, **settings: object) -> None:
        """Kill an instance and start it again, with other settings from now on."""
        instance.kill()
        self.load.reborn.add(instance.place)
        await instance.start(**settings)
