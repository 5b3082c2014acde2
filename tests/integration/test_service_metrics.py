"""One ``/metrics`` for several workers, through their deaths: what clients counted, and no less."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import random
import signal
import subprocess
import threading
from typing import TYPE_CHECKING, Self

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import plain
from tests.contract.consumers import TRANSPORTS
from tests.programs import require
from tests.prometheus import Prometheus
from tests.waiting import wait_until
from tests.worker_processes import targets, worker_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import StartService
    from tests.contract.consumers import Consumer
    from tests.service import Service

WORKERS = 3
ACTIVE = "riptide_streaming_active_connections"
OPENED = "riptide_streaming_connections_opened_total"
SENT = "riptide_streaming_messages_sent_total"
PUBLISHED = "riptide_streaming_messages_published_total"
LATENCY = "riptide_streaming_delivery_latency_seconds_count"
NEVER_FALL = ("_total", "_count", "_sum", "_bucket", "_total_connections")


class Clients:
    """Consumers and a publisher, and what they have counted."""

    def __init__(self, service: Service, topic: str) -> None:
        self.service = service
        self.topic = topic
        self.opened = self.received = self.published = 0
        self.ended: list[bool] = []
        self._stack = contextlib.AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(httpx2.TransportError):
            await self._stack.aclose()

    @property
    def active(self) -> int:
        return self.opened - len(self.ended)

    async def come(self, count: int) -> None:
        for number in range(count):
            transport = TRANSPORTS[number % len(TRANSPORTS)]
            opening = transport.open(self.service, self.topic)
            consumer = await self._stack.enter_async_context(opening)
            await consumer.next("opened")
            self.opened += 1
            self._tasks.append(asyncio.create_task(self._read(consumer)))

    async def publish(self, batches: int) -> None:
        for _ in range(batches):
            await asyncio.to_thread(self.service.publish, self.topic, 1, 2, 3)
            self.published += 3

    async def _read(self, consumer: Consumer) -> None:
        with contextlib.suppress(httpx2.TransportError):
            async for record in consumer:
                self.received += "data" in record
        self.ended.append(True)

    def counted(self) -> dict[str, float]:
        """Return what a scrape has to show."""
        return {
            ACTIVE: self.active,
            OPENED: self.opened,
            SENT: self.received,
            LATENCY: self.received,
            PUBLISHED: self.published,
        }


@pytest.fixture
def service(start_service: StartService) -> Service:
    service = start_service(log="memory", workers=WORKERS)
    _wait_for_workers(service)
    return service


@pytest.fixture
def prometheus(tmp_path: Path, service: Service) -> Iterator[Prometheus]:
    server = Prometheus(tmp_path, service)
    yield server
    server.close()


def _targets(service: Service) -> list[str]:
    """Return the workers; asks once more if the one that took the connection ends just then."""

    def listed() -> list[str] | None:
        with contextlib.suppress(httpx2.TransportError):
            return targets(service)
        return None

    return wait_until(listed)


def _wait_for_workers(service: Service) -> None:
    wait_until(lambda: len(_targets(service)) == WORKERS)


def _is_gone(service: Service, target: str) -> bool:
    return target not in _targets(service)


def _sums(text: str) -> dict[str, float]:
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return sums


def _scrape(service: Service) -> str:
    """Scrape the shared port; once more, if the worker that took the connection ends just then."""

    def answer() -> str | None:
        with contextlib.suppress(httpx2.TransportError):
            return plain.get(f"{service.url}/metrics", timeout=5).text
        return None

    return wait_until(answer)


def _worker_with_most_connections(service: Service) -> tuple[str, int]:
    active = {
        target: _sums(plain.get(f"http://{target}/metrics").text)[ACTIVE]
        for target in _targets(service)
    }
    target = max(active, key=lambda each: active[each])
    return target, worker_of(service.pid, target)


async def _until_shown(clients: Clients) -> None:
    """Wait until the shared port shows what clients counted.

    What it shows is in the memory of all workers, so that nobody's death takes it away.
    """

    def shown() -> bool:
        sums = _sums(_scrape(clients.service))
        return all(sums[name] == value for name, value in clients.counted().items())

    await asyncio.to_thread(
        wait_until, shown, lambda: (clients.counted(), _sums(_scrape(clients.service)))
    )


async def test_prometheus_sees_on_the_shared_port_alone_what_clients_counted_through_deaths(
    service: Service, prometheus: Prometheus, topic: str
) -> None:
    async with Clients(service, topic) as clients:
        for number in (None, signal.SIGKILL, signal.SIGTERM):
            if number is not None:
                target, pid = await asyncio.to_thread(_worker_with_most_connections, service)
                os.kill(pid, number)
                gone = functools.partial(_is_gone, service, target)
                await asyncio.to_thread(wait_until, gone)
                await asyncio.to_thread(_wait_for_workers, service)
                await _until_shown(clients)
            await clients.come(9)
            await clients.publish(20)
            await _until_shown(clients)
            await asyncio.to_thread(prometheus.wait_for_scrape)
            for name, value in clients.counted().items():
                assert prometheus.series(f"sum({name})") == [({}, value)], name
        assert clients.received > 0
        assert clients.ended, "consumers of the workers that ended are gone"
        # One instance, no series of a worker that is gone, and no fall that rate() would see.
        assert [labels["instance"] for labels, _ in prometheus.series("up")] == [
            service.url.removeprefix("http://")
        ]
        never_fall = f'{{__name__=~"riptide_.*({"|".join(NEVER_FALL)})"}}'
        names = [
            each["__name__"] for each, _ in prometheus.series(f"group by (__name__) ({never_fall})")
        ]
        assert len(names) > 30
        for name in names:
            assert prometheus.series(f"resets({name}[10m]) > 0") == [], name
        assert prometheus.series("riptide_streaming_messages_unaccounted")[0][1] == 0
        # The replacements of workers are still seen as restarts.
        ((_, restarts),) = prometheus.series("changes(process_start_time_seconds[10m])")
        assert restarts == 2


class Load:
    """A publisher, a consumer and a scraper on threads of their own, as quick as they can be."""

    def __init__(self, service: Service, topic: str) -> None:
        self.falls: list[str] = []
        self.scrapes = 0
        self._seen: dict[str, float] = {}
        self._service = service
        self._over = threading.Event()
        url = service.topic(topic)
        self._threads = [
            threading.Thread(target=self._again_and_again, args=(what,))
            for what in (
                self._scrape,
                lambda: plain.post(url, json=1),
                lambda: plain.get(url, params={"until": "latest"}),
            )
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def wait_for_scrapes(self, count: int) -> None:
        before = self.scrapes
        wait_until(lambda: self.scrapes >= before + count)

    def _again_and_again(self, what: Callable[[], object]) -> None:
        while not self._over.is_set():
            # The worker may be killed meanwhile.
            with contextlib.suppress(httpx2.TransportError):
                what()

    def _scrape(self) -> None:
        for line in _scrape(self._service).splitlines():
            series, _, value = line.rpartition(" ")
            if line.startswith("#") or not series.partition("{")[0].endswith(NEVER_FALL):
                continue
            if float(value) < self._seen.get(series, 0.0):
                self.falls.append(f"{series} from {self._seen[series]} to {value}")
            self._seen[series] = float(value)
        self.scrapes += 1


def test_no_counter_falls_in_any_scrape_while_workers_are_killed_under_load(
    service: Service, topic: str
) -> None:
    chance = random.Random(16)
    with Load(service, topic) as load:
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
            load.wait_for_scrapes(20)
            victim = chance.choice(_targets(service))
            os.kill(worker_of(service.pid, victim), number)
            load.wait_for_scrapes(5)
            wait_until(functools.partial(_is_gone, service, victim))
        _wait_for_workers(service)
        load.wait_for_scrapes(20)
    assert load.falls == []


def test_a_worker_that_hangs_neither_holds_a_scrape_up_nor_is_left_out(
    service: Service, topic: str
) -> None:
    service.publish(topic, 1)
    wait_until(lambda: _sums(_scrape(service))[PUBLISHED] == 1)
    stopped = [worker_of(service.pid, target) for target in _targets(service)[1:]]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(5):
            assert _sums(_scrape(service))[PUBLISHED] == 1
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def test_promtool_has_nothing_to_say_about_the_metrics_of_the_service(service: Service) -> None:
    for accept in ("text/plain", "application/openmetrics-text; version=1.0.0"):
        answer = plain.get(f"{service.url}/metrics", headers={"Accept": accept})
        assert answer.headers["content-type"].startswith(accept.partition(";")[0])
    done = subprocess.run(
        [require("promtool"), "check", "metrics"],
        input=_scrape(service),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_metrics_of_the_service_are_for_operators_like_those_of_a_process(
    start_service: StartService, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("a-token-of-operators")
    file.chmod(0o600)
    service = start_service(log="memory", workers=2, metrics_token_file=file)
    assert plain.get(f"{service.url}/metrics").status_code == 401
    headers = {"Authorization": f"Bearer {file.read_text()}"}
    assert OPENED in plain.get(f"{service.url}/metrics", headers=headers).text
