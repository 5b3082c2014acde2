"""A service whose standard error nobody reads serves on, and ends when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import termios
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed

from riptide_telemetry import catalog
from tests import plain
from tests.contract.raw import RawStream
from tests.service import Service
from tests.waiting import in_time, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIPE_BYTES = 4096
SHORTEST_RECORD = 100
CLIENTS = 30
DROPPED = catalog.LOG_RECORDS_DROPPED.prometheus_name
SAID = re.compile(r"(\d+) log records were dropped here")
# A service of which few records may wait.
SMALL_QUEUE = """
import sys
from riptide import cli
from riptide.process import standard_error
standard_error.MAX_LINES = 10
sys.exit(cli.main(["serve"]))
"""


class PipedService(Service):
    """A service whose standard error is a small pipe, which is read when somebody asks for ``log``.

    Nobody asks after its start, so that the pipe fills up.
    """

    _read = ""

    @property
    def log(self) -> str:
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._reading, PIPE_BYTES):
                self._read += chunk.decode()
        return self._read

    def _spawn(self, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        self._reading, self._writing = os.pipe()
        fcntl.fcntl(self._writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(self._reading, False)
        return subprocess.Popen(self.command, env=environment, stderr=self._writing)

    def fill_pipe(self) -> None:
        """Write until the next record of the service finds no room."""
        while self._waiting() < PIPE_BYTES - SHORTEST_RECORD:
            os.write(self._writing, b"." * (SHORTEST_RECORD // 2))

    def _waiting(self) -> int:
        return int.from_bytes(fcntl.ioctl(self._reading, termios.FIONREAD, bytes(4)), sys.byteorder)

    def close(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        os.close(self._reading)
        os.close(self._writing)


@pytest.fixture
def start_piped(tmp_path: Path) -> Iterator[Callable[..., PipedService]]:
    services: list[PipedService] = []

    def start(*command: str, **settings: Any) -> PipedService:
        service = PipedService(tmp_path, {"log": "memory", "heartbeat_seconds": 0.1, **settings})
        service.command = command or service.command
        services.append(service)
        service.start()
        wait_until(lambda: plain.get(f"{service.url}/healthz/ready").status_code == 200)
        return service

    yield start
    for service in services:
        assert "Traceback" not in service.log, service.log
        service.close()


async def _break_the_rules(service: Service, topic: str) -> None:
    async with plain.connect(service.topic(topic).replace("http", "ws", 1)) as client:
        await client.send(b"binary")
        with contextlib.suppress(ConnectionClosed):
            while True:
                await client.recv()


async def _flood(service: PipedService, topic: str) -> None:
    """Fill the pipe, and cause records that find no room in it."""
    service.fill_pipe()
    await in_time(asyncio.gather(*(_break_the_rules(service, topic) for _ in range(CLIENTS))))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("level", ["debug", "info"])
def test_a_service_whose_standard_error_nobody_reads_serves_on_and_ends_at_the_signal(
    start_piped: Callable[..., PipedService], topic: str, workers: int, level: str
) -> None:
    service = start_piped(log_level=level, workers=workers)
    with RawStream(service, topic, "sse") as before:
        before.wait_until_open()
        asyncio.run(_flood(service, topic))
        for _ in range(5):
            assert plain.get(f"{service.url}/healthz/live").status_code == 200
            service.publish(topic, "published")
        with RawStream(service, topic, "ndjson") as after:
            after.wait_until_open()
            after.read_until(b'"heartbeat"')
        before.data = b""
        before.read_until(b"heartbeat")
    assert service.stop() == 0


def test_what_was_dropped_is_counted_and_said_when_somebody_reads_again(
    start_piped: Callable[..., PipedService], topic: str
) -> None:
    service = start_piped(sys.executable, "-c", SMALL_QUEUE, log_level="debug", log_format="json")
    asyncio.run(_flood(service, topic))
    dropped = service.metric(DROPPED)
    assert dropped > 0
    wait_until(lambda: sum(map(int, SAID.findall(service.log))) >= dropped)
    assert service.stop() == 0


def test_a_supervisor_whose_standard_error_nobody_reads_replaces_a_worker(
    start_piped: Callable[..., PipedService], topic: str
) -> None:
    service = start_piped(log_level="debug", workers=2)

    def targets() -> set[str]:
        groups = plain.get(f"{service.url}/metrics/targets").json()
        return {target for group in groups for target in group["targets"]}

    wait_until(lambda: len(targets()) == 2)
    before = targets()
    asyncio.run(_flood(service, topic))
    children = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text()
    os.kill(int(children.split()[0]), signal.SIGKILL)
    wait_until(lambda: len(targets()) == 2 and targets() - before)
    assert service.stop() == 0


def test_an_exporter_that_fails_does_not_wait_for_standard_error_either(
    start_piped: Callable[..., PipedService],
) -> None:
    handshakes = 0

    def refuse() -> None:
        nonlocal handshakes
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(1000)
                    connection.sendall(b"this is not TLS")
                handshakes += 1

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=refuse)
        thread.start()
        try:
            service = start_piped(
                otel_traces_exporter="otlp",
                otel_exporter_otlp_protocol="grpc",
                otel_exporter_otlp_endpoint=f"https://127.0.0.1:{server.getsockname()[1]}",
                otel_exporter_otlp_timeout=1000,
                otel_bsp_schedule_delay=100,
            )
            service.fill_pipe()
            # gRPC tries again when there is something to export.
            wait_until(lambda: service.publish("traced", "published") and handshakes > 1)
            assert service.stop() == 0
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
    # The service has said itself that nothing reaches the collector, and gRPC nothing.
    assert all("ssl_transport" not in line for line in service.log.splitlines())
