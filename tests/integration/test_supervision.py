"""The service as process 1, as in a container, and what happens to a supervisor there."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import httpx2

from tests.contract.consumers import TRANSPORTS, Transport
from tests.integration.test_surroundings import SilentService
from tests.programs import require, require_namespaces
from tests.service import RIPTIDE
from tests.waiting import DEADLINE_S, eventually, wait_until
from tests.worker_processes import children, targets, worker_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.service import Service

WORKERS = 3
CONSUMERS = 30
ACTIVE = "riptide_streaming_active_connections"
PROCESSES = ("--pid", "--fork", "--mount-proc")
# A promise to operators, and no measure of speed: docs/workers.md.
REPLACED_WITHIN_S = 30
# Leaves a process whose parents end at once, twice over.
ORPHANS = '(sleep 0.2 &); sh -c "sh -c \\"sleep 0.1 & exit 7\\" & exit 0"; exit 0'


class ContainedService(SilentService):
    """A service that is process 1, without standard input and output.

    Its standard error is a pipe that is full, and that nobody reads.
    """

    def __init__(self, directory: Path, workers: int) -> None:
        super().__init__(directory, {"log": "memory", "workers": workers})
        pipe = directory / "stderr"
        os.mkfifo(pipe)
        self._pipe = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, 4096)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(self._pipe, b".")
        serve = 'exec "$0" serve <&- >&- 2>"$1"'
        contained = (require_namespaces(*PROCESSES), *PROCESSES, "--kill-child")
        self.command = (*contained, "sh", "-c", serve, RIPTIDE, pipe)

    @property
    def process_1(self) -> int:
        """Process 1, by its number outside."""
        (child,) = children(self.pid)
        return child

    def run_inside(self, command: str) -> None:
        inside = (require("nsenter"), f"--target={self.process_1}", "--pid", "--mount")
        subprocess.run([*inside, "sh", "-c", command], check=True)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        os.close(self._pipe)


@contextlib.contextmanager
def _contained(directory: Path, workers: int) -> Iterator[ContainedService]:
    service = ContainedService(directory, workers)
    try:
        service.start()
        yield service
    finally:
        service.close()


class Listener:
    """A consumer that reads until its stream ends."""

    def __init__(self) -> None:
        self.opened = self.over = False
        self.messages = 0
        self.reason: str | None = None

    async def listen(self, service: Service, transport: Transport, topic: str) -> None:
        # A worker that is killed cuts its streams off in whatever way.
        with contextlib.suppress(httpx2.TransportError, AssertionError):
            async with transport.open(service, topic) as consumer:
                async for record in consumer:
                    self.opened = True
                    self.messages += "event" not in record
                    self.reason = record.get("reason", self.reason)
        self.over = True


@contextlib.contextmanager
def _load(service: Service, topic: str) -> Iterator[None]:
    """Publish all the time, to whichever worker takes the connection."""
    enough = threading.Event()

    def publish() -> None:
        while not enough.is_set():
            # That worker may be the one that is stopped, and killed.
            with contextlib.suppress(httpx2.TransportError):
                service.publish(topic, "message", "message")

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        yield
    finally:
        enough.set()
        publisher.join(DEADLINE_S)


def _active(target: str) -> int:
    text = httpx2.get(f"http://{target}/metrics", timeout=DEADLINE_S).text
    lines = [line for line in text.splitlines() if line.startswith(f"{ACTIVE}{{")]
    return int(sum(float(line.rpartition(" ")[2]) for line in lines))


def _only_workers_are_left(service: ContainedService) -> bool:
    """Return whether all children are workers, and the process of their log."""
    return len(children(service.process_1)) == WORKERS + 1


def test_a_service_in_one_process_as_process_1_reaps_orphans(tmp_path: Path) -> None:
    with _contained(tmp_path, 1) as service:
        for _ in range(3):
            service.run_inside(ORPHANS)
        wait_until(lambda: not children(service.process_1))
        os.kill(service.process_1, signal.SIGTERM)
        assert service.process is not None
        assert service.process.wait(DEADLINE_S) == 0


async def test_a_supervisor_as_process_1_survives_and_no_healthy_worker_s_stream_ends(
    tmp_path: Path, topic: str
) -> None:
    with _contained(tmp_path, WORKERS) as service, _load(service, topic):
        await _live_through_it(service, topic)


async def _live_through_it(service: ContainedService, topic: str) -> None:
    await asyncio.to_thread(wait_until, lambda: len(targets(service)) == WORKERS)
    listeners = [Listener() for _ in range(CONSUMERS)]
    listening = [
        asyncio.create_task(each.listen(service, TRANSPORTS[number % len(TRANSPORTS)], topic))
        for number, each in enumerate(listeners)
    ]
    await eventually(lambda: all(each.opened for each in listeners))
    before = await asyncio.to_thread(targets, service)
    workers = {target: worker_of(service.process_1, target) for target in before}
    active = {target: await asyncio.to_thread(_active, target) for target in before}
    assert sum(active.values()) == CONSUMERS

    for _ in range(10):
        await asyncio.to_thread(service.run_inside, ORPHANS)
    await asyncio.to_thread(wait_until, lambda: _only_workers_are_left(service))
    assert not any(each.over for each in listeners)

    # The worker with the fewest streams, so that streams are left for sure.
    victim = min(active, key=lambda target: active[target])
    os.kill(workers[victim], signal.SIGSTOP)
    stopped = time.monotonic()
    await asyncio.to_thread(service.run_inside, ORPHANS)
    await asyncio.to_thread(
        wait_until,
        lambda: victim not in (found := targets(service)) and len(found) == WORKERS,
    )
    assert time.monotonic() - stopped < REPLACED_WITHIN_S
    await asyncio.to_thread(wait_until, lambda: _only_workers_are_left(service))

    await eventually(lambda: sum(each.over for each in listeners) >= active[victim])
    survivors = [each for each in listeners if not each.over]
    assert len(survivors) == CONSUMERS - active[victim]
    heard = {each: each.messages for each in survivors}
    await eventually(lambda: all(each.messages > heard[each] for each in survivors))
    healthy = {target: pid for target, pid in workers.items() if target != victim}
    assert set(healthy.values()) <= set(children(service.process_1))

    os.kill(service.process_1, signal.SIGTERM)
    assert service.process is not None
    assert await asyncio.to_thread(service.process.wait, DEADLINE_S) == 0
    await asyncio.gather(*listening)
    assert {each.reason for each in survivors} == {"draining"}
