"""A server to put under load: how it is run, and which requests it takes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import machine
from benchmarks.service import HOST
from operations.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

CONFIGURATIONS = Path(__file__).parent
START_DEADLINE_S = 120.0
STOP_DEADLINE_S = 10.0
SSE = "SSE"
NDJSON = "NDJSON"
WEBSOCKET = "WebSocket"
UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
ACCEPT = {
    SSE: "Accept: text/event-stream\r\n",
    NDJSON: "Accept: application/x-ndjson\r\n",
    WEBSOCKET: UPGRADE,
}


class Serving(NamedTuple):
    """A server that accepts connections; its processes are all those of its sessions.

    If it has several instances, consumers go to the ports of ``instances`` in turn, and publishers
    to those of ``publish_instances``.
    """

    port: int
    publish_port: int
    session: int
    more_sessions: tuple[int, ...] = ()
    instances: tuple[int, ...] = ()
    publish_instances: tuple[int, ...] = ()

    def processes(self) -> list[int]:
        """Return the ids of all processes of the server."""
        found, sessions = [], {self.session, *self.more_sessions}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if os.getsid(int(entry.name)) in sessions:
                        found.append(int(entry.name))
        return found

    def cpu_seconds(self) -> float:
        """Return the processor time that the server has used so far, in seconds."""
        return sum(machine.cpu_seconds(pid) for pid in self.processes())

    def resident_bytes(self) -> int:
        """Return the resident memory of the server."""
        return sum(machine.resident_bytes(pid) for pid in self.processes())


@dataclass(frozen=True)
class Peer:
    """A kind of server.

    ``publish`` says how the load client makes a request of a message, and ``path`` where consumers
    subscribe. ``batches`` has what differs in a request of several messages.
    """

    name: str
    transports: Sequence[str]
    path: str
    publish: dict[str, object]
    serve: Callable[[], AbstractContextManager[Serving]]
    programs: Sequence[str] = ()
    batches: dict[str, object] = field(default_factory=dict)

    def missing(self) -> list[str]:
        """Return the programs that the server needs and this machine does not have."""
        return [program for program in self.programs if shutil.which(program) is None]

    def subscribe(self, transport: str) -> dict[str, object]:
        """Return how the load client subscribes over a transport."""
        return {
            "path": self.path,
            "headers": ACCEPT[transport],
            "websocket": transport == WEBSOCKET,
        }


@contextlib.contextmanager
def configured(
    names: Sequence[str], command: Sequence[str], ports: Sequence[str], **more: object
) -> Iterator[Serving]:
    """Run a program on the server's core, with configuration files of this folder.

    ``ports`` names placeholders for free ports in the files: the server serves at the first, and
    takes publishes at the last. ``$directory`` is a new directory with the files in it.
    """
    # At the default place, because the paths of Unix sockets in the directory have to be short.
    with tempfile.TemporaryDirectory(prefix="peer-") as directory:
        chosen = dict(zip(ports, free_ports(len(ports)), strict=True))
        values = {"directory": directory, "host": HOST, **chosen, **more}
        for name in names:
            text = Template((CONFIGURATIONS / name).read_text()).substitute(values)
            Path(directory, name).write_text(text)
        arguments = [Template(argument).substitute(values) for argument in command]
        numbers = list(chosen.values())
        with started(arguments, Path(directory, "log")) as process:
            for port in numbers:
                wait_for_port(process, port, Path(directory, "log"))
            yield Serving(numbers[0], numbers[-1], process.pid)


@contextlib.contextmanager
def started(
    arguments: Sequence[str],
    log: Path,
    environment: dict[str, str] | None = None,
    cores: set[int] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program in a session of its own, and end it and its children.

    It runs on the server's core unless it is given others.
    """
    with log.open("wb") as output, machine.pinned_to(cores or machine.server_cores()):
        process = subprocess.Popen(  # noqa: S603  # a program that the benchmark names
            arguments,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_DEADLINE_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until a program listens.

    Raises:
        RuntimeError: it has ended, or does not listen in time.

    """
    deadline = time.monotonic() + START_DEADLINE_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} did not start: {log.read_text()}")
        time.sleep(0.02)
