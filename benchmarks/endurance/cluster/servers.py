"""The servers of NATS, one on each machine, and what can be done to them."""

from __future__ import annotations

import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Self

from benchmarks.endurance.cluster.questions import DEADLINE_S, AskedServers
from operations.cluster.nats import MISSING, nats_server

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.endurance.cluster.network import Machine

CLIENTS = 4222
CONFIG = """
listen: 0.0.0.0:{clients}
server_name: {name}
jetstream {{
    store_dir: "{store}"
    # As docs/cluster.md recommends.
    sync_interval: always
    {limits}
}}
cluster {{
    name: riptide
    listen: 0.0.0.0:6222
    # Each instance keeps to the URLs that it was given.
    no_advertise: true
    routes: [{routes}]
}}
"""
# Each write to the disk takes so much longer.
SLOW_SYNC_S = 0.2
# The tracer is a grandchild, so that the server has the pid of the process that was started.
SLOW_SYNCS = (
    "strace",
    "-D",
    "-f",
    "--seccomp-bpf",
    "--quiet=all",
    "--output=/dev/null",
    "--trace=fsync,fdatasync",
    f"--inject=fsync,fdatasync:delay_exit={SLOW_SYNC_S:g}s",
)


class Servers(AskedServers):
    """A cluster of servers, n1, n2 and so on, which run within this context.

    Raises:
        RuntimeError: there is no nats-server.

    """

    def __init__(
        self, machines: Sequence[Machine], directory: Path, stream: str, *, limits: str = ""
    ) -> None:
        """``stream`` is the one of Riptide; ``limits`` are of each server's JetStream."""
        program = nats_server()
        if program is None:
            raise RuntimeError(MISSING)
        self._program = program
        self.machines = {f"n{n}": machine for n, machine in enumerate(machines, 1)}
        self.stream = stream
        self.syncs_are_slow = False
        self._directory = directory
        self.limits = limits
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for name in self.machines:
            (directory / name).mkdir()

    def __enter__(self) -> Self:
        """Start all."""
        for name in self.machines:
            self.start(name)
        return self

    def __exit__(self, *_: object) -> None:
        """Kill all that run."""
        for name in tuple(self._processes):
            self.end(name, signal.SIGKILL)

    @property
    def urls(self) -> list[str]:
        """Where all are reached, also those that do not run."""
        return [f"nats://{machine.address}:{CLIENTS}" for machine in self.machines.values()]

    def store(self, name: str) -> Path:
        """Return the directory of what a server has stored."""
        return self._directory / name / "store"

    def start(self, name: str) -> None:
        """Start a server with what it has stored, and with the limits of now."""
        assert name not in self._processes, f"{name} runs"  # noqa: S101  # a fault of the trial
        routes = ", ".join(
            f"nats-route://{machine.address}:6222" for machine in self.machines.values()
        )
        file = self._directory / f"{name}.conf"
        config = CONFIG.format(
            name=name, clients=CLIENTS, store=self.store(name), limits=self.limits, routes=routes
        )
        file.write_text(config, encoding="utf-8")
        slow = SLOW_SYNCS if self.syncs_are_slow else ()
        with (self._directory / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(  # noqa: S603  # a server of NATS
                [
                    *self.machines[name].command(),
                    *slow,
                    self._program,
                    "-c",
                    file,
                ],
                stdout=log,
                stderr=log,
            )

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a server."""
        self._processes[name].send_signal(number)

    def end(self, name: str, number: signal.Signals) -> None:
        """Send a signal that ends a server, and wait until it has ended."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        process.wait(DEADLINE_S)

    def kill(self, *names: str) -> None:
        """End servers without asking."""
        for name in names:
            self.end(name, signal.SIGKILL)

    def wipe(self, name: str) -> None:
        """Take from a server that does not run what it has stored."""
        shutil.rmtree(self.store(name))

    def others(self, name: str) -> list[str]:
        """Return the names of the others."""
        return [other for other in self.machines if other != name]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.machines)

    def running_urls(self) -> list[str]:
        """Return where those are reached that run."""
        return [f"nats://{self.machines[name].address}:{CLIENTS}" for name in self._processes]

    async def leader(self) -> str:
        """Return the name of the stream's leader as soon as there is one."""
        return await self.wait_for_leader(self.stream)

    async def until_whole(self, *, may_lag: bool = False) -> None:
        """Wait until all servers have the whole stream; see ``wait_until_whole``."""
        await self.wait_until_whole(self.stream, may_lag=may_lag)
