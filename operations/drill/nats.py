"""A server of NATS beside a service of the drill, and a network between the two."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING, Final

from operations.cluster.nats import MISSING, nats_server
from operations.drill.processes import DrillError
from operations.ports import free_port
from operations.processes import Process

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PASSWORD: Final = "only for the drill"  # noqa: S105  # it keeps no secret
STREAM: Final = "riptide"
_START_DEADLINE_S: Final = 60
_CHUNK_BYTES: Final = 64 * 1024
_CONFIGURATION: Final = """
listen: 127.0.0.1:{port}
jetstream {{
    store_dir: "{store}"
}}
authorization {{
    users: [{{
        user: riptide
        password: "{password}"
        permissions: {{
            publish: {{
                allow: ">"
                deny: [{denied}]
            }}
        }}
    }}]
}}
"""


class NatsServer:
    """A server that keeps its port and its streams when it is started again."""

    def __init__(self) -> None:
        self.port = free_port()
        self._directory: Path | None = None
        self._process: Process | None = None

    @property
    def settings(self) -> Mapping[str, object]:
        """The settings of a service whose log it keeps."""
        return self.settings_at(self.port)

    def settings_at(self, port: int) -> Mapping[str, object]:
        """Return the settings of a service that reaches the server by another port."""
        return {
            "log": "jetstream",
            "jetstream_urls": f"nats://127.0.0.1:{port}",
            "jetstream_stream": STREAM,
            "jetstream_replicas": 1,
            "jetstream_user": "riptide",
            "jetstream_password_file": "password",
        }

    async def start(self, directory: Path) -> None:
        """Start it, and write the password into the directory of the service.

        Raises:
            DrillError: there is no nats-server, or it does not start.

        """
        (directory / "password").write_text(PASSWORD)
        self._directory = directory / "nats"
        self._directory.mkdir(exist_ok=True)
        self._configure()
        await self.start_again()

    async def start_again(self) -> None:
        """Start it with the streams that it has, and wait until it can be reached.

        Raises:
            DrillError: there is no nats-server, or it does not start.

        """
        path = nats_server()
        if path is None:
            raise DrillError(MISSING)
        self._process = Process([path, "-c", "nats.conf"], self._home)
        for _ in range(_START_DEADLINE_S * 10):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            await asyncio.sleep(0.1)
        raise DrillError(f"nats-server did not start: {self._process.log_file.read_text()}")

    async def stop(self) -> None:
        """End it in an orderly way."""
        if self._process is not None:
            await self._process.stop()

    def kill(self) -> None:
        """End it without asking."""
        if self._process is not None:
            self._process.kill()

    def forbid(self, *subjects: str) -> None:
        """Take the permission to publish to these subjects away; without any, give it back."""
        self._configure(*subjects)
        if self._process is not None:
            self._process.send(signal.SIGHUP)

    @property
    def store(self) -> Path:
        """Where the streams are."""
        return self._home / "store"

    @property
    def _home(self) -> Path:
        if self._directory is None:
            raise DrillError("nats-server was not started")
        return self._directory

    def _configure(self, *denied: str) -> None:
        text = _CONFIGURATION.format(
            port=self.port,
            store=self.store,
            password=PASSWORD,
            denied=", ".join(f'"{subject}"' for subject in denied),
        )
        (self._home / "nats.conf").write_text(text)


class Network:
    """A way to a port that may become long: what is sent arrives after ``delay_s``."""

    def __init__(self, target_port: int) -> None:
        self.port = free_port()
        self.delay_s = 0.0
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, _directory: Path) -> None:
        """Take connections."""
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Break all connections, and take no more."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            theirs = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.close()
            return
        for source, sink in ((reader, theirs[1]), (theirs[0], writer)):
            task = asyncio.create_task(self._pass_on(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Pass on everything in order, each piece when it has been on its way for long enough."""
        loop = asyncio.get_running_loop()
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def arrive() -> None:
            while True:
                due, piece = await under_way.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                sink.write(piece)
                await sink.drain()

        arriving = asyncio.create_task(arrive())
        try:
            with contextlib.suppress(OSError):
                while piece := await source.read(_CHUNK_BYTES):
                    under_way.put_nowait((loop.time() + self.delay_s, piece))
        finally:
            arriving.cancel()
            await asyncio.gather(arriving, return_exceptions=True)
            sink.close()
