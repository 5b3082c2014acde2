"""Servers of NATS with JetStream, for tests."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from typing import TYPE_CHECKING, Self

import orjson

from benchmarks.endurance.cluster.questions import AskedServers
from operations.ports import free_ports
from tests.programs import require_nats_server
from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG = """
listen: 127.0.0.1:{port}
server_name: {name}
jetstream {{
    store_dir: "{directory}/store"
    {limits}
}}
ports_file_dir: "{directory}"
{more}
"""


class ServerProcess:
    """A server with the configuration that lies in its directory, as its streams do."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = -1
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        assert self.process is None, f"the server in {self.directory} runs"
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(  # the server that make nats builds
                [require_nats_server(), "-c", self.directory / "nats.conf"], stdout=log, stderr=log
            )

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End the process without asking."""
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """End the process as a supervisor would."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        self.send(number)
        assert self.process is not None
        self.process.wait(DEADLINE_S)
        self.process = None


class Server(ServerProcess):
    """A server that keeps its port from start to start, whichever it got."""

    def __init__(self, directory: Path, more: str = "", *, limits: str = "") -> None:
        """``limits`` are of JetStream, and ``more`` is the rest of its configuration."""
        super().__init__(directory)
        self._limits, self._more = limits, more

    def start(self) -> None:
        """Start it, and wait until it can be reached."""
        config = CONFIG.format(
            port=self.port,
            name="n1",
            directory=self.directory,
            limits=self._limits,
            more=self._more,
        )
        (self.directory / "nats.conf").write_text(config)
        super().start()
        assert self.process is not None
        file = self.directory / f"nats-server_{self.process.pid}.ports"
        wait_until(file.exists, (self.directory / "log").read_text)
        urls = wait_until(file.read_text)
        self.port = int(orjson.loads(urls)["nats"][0].rpartition(":")[2])

    def stop(self) -> None:
        """End it in an orderly way, if it runs."""
        if self.process is not None:
            self.terminate()


@contextlib.contextmanager
def server(directory: Path, more: str = "", *, limits: str = "") -> Iterator[Server]:
    """Run a server; yield it."""
    one = Server(directory, more, limits=limits)
    try:
        one.start()
        yield one
    finally:
        one.stop()


@contextlib.contextmanager
def one_server(directory: Path, more: str = "", *, limits: str = "") -> Iterator[str]:
    """Run a server that keeps its streams in a directory; yield its URL.

    ``limits`` are of JetStream, and ``more`` is the rest of the configuration.
    """
    with server(directory, more, limits=limits) as one:
        yield one.url


CLUSTER_CONFIG = """
listen: 127.0.0.1:{port}
server_name: {name}
jetstream {{
    store_dir: "{directory}/store"
}}
cluster {{
    name: riptide
    listen: 127.0.0.1:{cluster_port}
    routes: [{routes}]
}}
{more}
"""


class ClusterServer(ServerProcess):
    """A server of a cluster. Its port and its streams stay when it is started again."""

    def __init__(self, name: str, directory: Path) -> None:
        super().__init__(directory)
        self.name = name
        self.port, self.cluster_port = free_ports(2)


class Cluster(AskedServers):
    """Three servers of one cluster, n1 to n3, on ports of their own, each with its own directory.

    They run within this context. ``more`` is added to the configuration of each.
    """

    def __init__(self, directory: Path, more: str = "") -> None:
        self.servers = {name: ClusterServer(name, directory / name) for name in ("n1", "n2", "n3")}
        for server in self.servers.values():
            routes = [
                f"nats-route://127.0.0.1:{other.cluster_port}"
                for other in self.servers.values()
                if other is not server
            ]
            config = CLUSTER_CONFIG.format(
                name=server.name,
                directory=server.directory,
                port=server.port,
                cluster_port=server.cluster_port,
                routes=", ".join(routes),
                more=more,
            )
            (server.directory / "nats.conf").write_text(config)

    def __enter__(self) -> Self:
        for server in self.servers.values():
            server.start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers.values():
            if server.process is not None:
                server.kill()

    @property
    def urls(self) -> str:
        """The value of RIPTIDE_JETSTREAM_URLS."""
        return ",".join(server.url for server in self.servers.values())

    def kill(self, name: str) -> None:
        """End a server without asking."""
        self.servers[name].kill()

    def terminate(self, name: str) -> None:
        """End a server as a supervisor would."""
        self.servers[name].terminate()

    def start(self, name: str) -> None:
        """Start a server that has ended again, with what it had stored."""
        self.servers[name].start()

    def stop(self, name: str) -> None:
        """Let a server do nothing more until it may go on: the network sees no end."""
        self.servers[name].send(signal.SIGSTOP)

    def go_on(self, name: str) -> None:
        """Let a server that was stopped go on."""
        self.servers[name].send(signal.SIGCONT)

    async def restore(self) -> None:
        """Let all servers run, and wait until they answer."""
        for name, server in self.servers.items():
            if server.process is None:
                self.start(name)
            else:
                self.go_on(name)
        await self.wait_until_it_answers()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.servers)

    def running_urls(self) -> list[str]:
        """Return where those are reached that run."""
        return [server.url for server in self.servers.values() if server.process is not None]
