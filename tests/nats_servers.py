"""Servers of NATS with JetStream, for tests."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from typing import TYPE_CHECKING

import orjson

from tests.programs import require_nats_server
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG = """
listen: 127.0.0.1:{port}
server_name: {name}
jetstream {{
    store_dir: "{directory}/store"
}}
ports_file_dir: "{directory}"
{more}
"""


class Server:
    """A server that keeps its streams in a directory, and its port from start to start."""

    def __init__(self, directory: Path, more: str = "") -> None:
        """``more`` is of its configuration."""
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._more = more
        self._process: subprocess.Popen[bytes] | None = None
        self.port = -1

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it can be reached."""
        config = self._directory / "nats.conf"
        config.write_text(
            CONFIG.format(port=self.port, name="n1", directory=self._directory, more=self._more)
        )
        with (self._directory / "log").open("ab") as log:
            process = subprocess.Popen(  # the server that make nats builds
                [require_nats_server(), "-c", str(config)], stdout=log, stderr=log
            )
        self._process = process
        ports = wait_until(
            lambda: list(self._directory.glob(f"nats-server_{process.pid}.ports")),
            (self._directory / "log").read_text,
        )
        urls = wait_until(ports[0].read_text)
        self.port = int(orjson.loads(urls)["nats"][0].rpartition(":")[2])

    def kill(self) -> None:
        """End it at once, by SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in an orderly way, if it runs."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def server(directory: Path, more: str = "") -> Iterator[Server]:
    """Run a server; yield it."""
    one = Server(directory, more)
    try:
        one.start()
        yield one
    finally:
        one.stop()


@contextlib.contextmanager
def one_server(directory: Path, more: str = "") -> Iterator[str]:
    """Run a server that keeps its streams in a directory; yield its URL."""
    with server(directory, more) as one:
        yield one.url
