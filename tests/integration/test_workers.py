"""Several workers on one port: numbers that are right whichever of them answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from tests import plain
from tests.contract.consumers import TRANSPORTS
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import StartService
    from tests.service import Service

WORKERS = 3
CONSUMERS = 30
ACTIVE = "riptide_streaming_active_connections"
OPENED = "riptide_streaming_connections_opened_total"
SENT = "riptide_streaming_messages_sent_total"


def _targets(service: Service) -> list[str]:
    answer = plain.get(f"{service.url}/metrics/targets")
    assert answer.headers["content-type"] == "application/json"
    groups: list[dict[str, Any]] = answer.json()
    assert all(group["labels"]["worker"] for group in groups)
    return [target for group in groups for target in group["targets"]]


def _scrape(target: str) -> dict[str, float]:
    """Return the sum of each metric of one worker."""
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(plain.get(f"http://{target}/metrics").text):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return sums


def _all_there(service: Service) -> Callable[[], bool]:
    return lambda: len(_targets(service)) == WORKERS


async def test_the_workers_metrics_add_up_and_a_killed_one_leaves_no_ghost(
    start_service: StartService, topic: str
) -> None:
    service = start_service(log="memory", workers=WORKERS)
    assert "no broker" in service.log
    wait_until(_all_there(service))
    async with contextlib.AsyncExitStack() as stack:
        consumers = [
            await stack.enter_async_context(transport.open(service, topic))
            for transport in TRANSPORTS * (CONSUMERS // len(TRANSPORTS))
        ]
        for consumer in consumers:
            await consumer.next("opened")
        for _ in range(20):
            service.publish(topic, "to the consumers of one worker")
        before = {target: _scrape(target) for target in _targets(service)}
        assert sum(metrics[ACTIVE] for metrics in before.values()) == CONSUMERS
        assert sum(metrics[OPENED] for metrics in before.values()) == CONSUMERS
        assert (
            sum(
                metrics["riptide_streaming_messages_published_total"] for metrics in before.values()
            )
            == 20
        )
        victim = max(before, key=lambda target: before[target][ACTIVE])
        assert before[victim][ACTIVE] > 0
        pid = _worker_of(service, victim)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: victim not in _targets(service))
        wait_until(_all_there(service))
        after = {target: _scrape(target) for target in _targets(service)}
        (successor,) = after.keys() - before.keys()
        assert after[successor][ACTIVE] == 0
        for target in before.keys() & after.keys():
            assert after[target][ACTIVE] == before[target][ACTIVE]
            for name, value in before[target].items():
                if name.endswith("_total"):
                    assert after[target][name] >= value
    assert service.stop() == 0


async def test_the_shared_port_never_answers_with_the_numbers_of_one_worker(
    start_service: StartService,
) -> None:
    service = start_service(log="memory", workers=2)
    for _ in range(10):
        answer = plain.get(f"{service.url}/metrics")
        assert answer.status_code == 421
        assert "/metrics/targets" in answer.json()["detail"]


async def test_a_single_service_is_its_own_target(start_service: StartService) -> None:
    service = start_service(log="memory")
    (group,) = plain.get(f"{service.url}/metrics/targets").json()
    assert group["targets"] == [service.url.removeprefix("http://")]


async def test_a_signal_drains_every_worker(start_service: StartService, topic: str) -> None:
    service = start_service(workers=2)
    async with contextlib.AsyncExitStack() as stack:
        consumers = [
            await stack.enter_async_context(transport.open(service, topic))
            for transport in TRANSPORTS
            for _ in range(6)
        ]
        for consumer in consumers:
            await consumer.next("opened")
        assert await asyncio.to_thread(service.stop) == 0
        for consumer in consumers:
            assert (await consumer.next("end"))["reason"] == "draining"


def test_workers_do_not_outlive_their_supervisor(start_service: StartService) -> None:
    service = start_service(log="memory", workers=2)
    wait_until(lambda: len(_targets(service)) == 2)
    service.kill()
    wait_until(lambda: not _answers(service))


def _worker_of(service: Service, target: str) -> int:
    """Return the process of a worker: the child of the supervisor that listens on its port."""
    port = f":{int(target.rpartition(':')[2]):04X}"
    sockets = {
        fields[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if (fields := line.split())[1].endswith(port) and fields[3] == "0A"
    }
    children = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()
    for child in children:
        for descriptor in Path(f"/proc/{child}/fd").iterdir():
            with contextlib.suppress(OSError):
                if str(descriptor.readlink()).strip("socket:[]") in sockets:
                    return int(child)
    raise AssertionError(f"nobody listens on {target}")


def _answers(service: Service) -> bool:
    try:
        return plain.get(f"{service.url}/healthz/live").status_code == 200
    except httpx2.TransportError:
        return False
