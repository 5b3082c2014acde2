"""An instance that cannot reach NATS says so, sends its clients away, and comes back by itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import time
from typing import TYPE_CHECKING

import orjson
import pytest

from tests import plain
from tests.contract.consumers import TRANSPORTS
from tests.integration.cluster.cable import Cable
from tests.integration.log_faults.publishing import MAYBE, NOT, readiness
from tests.nats_servers import one_server
from tests.service import RIPTIDE
from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.integration.cluster.conftest import StartInstances
    from tests.service import Service

JSON = {"Content-Type": "application/json"}
PASSWORD = "correct-horse"
ACCOUNT = f'authorization {{ user: riptide, password: "{PASSWORD}" }}'


@pytest.fixture(scope="module")
def nats_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server that asks for a password."""
    with one_server(tmp_path_factory.mktemp("nats"), ACCOUNT) as url:
        yield int(url.rpartition(":")[2])


@pytest.fixture(scope="module", autouse=True)
def starting_in_vain() -> Iterator[list[subprocess.Popen[str]]]:
    """Services whose only server is not there: they are patient while other tests run."""
    environment = {name: value for name, value in os.environ.items() if "RIPTIDE" not in name}
    environment |= {
        "RIPTIDE_PORT": "0",
        "RIPTIDE_LOG": "jetstream",
        "RIPTIDE_JETSTREAM_URLS": _url(1),
    }
    processes = [
        subprocess.Popen(
            [RIPTIDE, "serve", "--workers", workers],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for workers in ("1", "2")
    ]
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
async def cable(nats_port: int) -> AsyncIterator[Cable]:
    async with Cable(nats_port) as cable:
        yield cable


def _url(port: int) -> str:
    return f"nats://riptide:{PASSWORD}@127.0.0.1:{port}"


def _wait_until_ready(service: Service) -> None:
    wait_until(lambda: readiness(service)[0] == 200, lambda: readiness(service)[1])


async def test_an_instance_that_is_cut_off_is_not_ready_and_comes_back_by_itself(
    start_instances: StartInstances, cable: Cable, topic: str
) -> None:
    (service,) = await asyncio.to_thread(
        start_instances, _url(cable.port), jetstream_replicas=1, append_timeout_seconds=3
    )
    await asyncio.to_thread(service.publish, topic, "before")
    assert (await asyncio.to_thread(readiness, service))[0] == 200
    await cable.cut()
    cut_at = time.monotonic()

    def is_unready() -> bool:
        return readiness(service)[0] == 503

    await asyncio.to_thread(wait_until, is_unready)
    # 2 s, and what a machine under load needs.
    assert time.monotonic() - cut_at < 4
    _, checks = await asyncio.to_thread(readiness, service)
    assert checks["log"].startswith(f"failing: not connected to NATS at 127.0.0.1:{cable.port} for")
    assert PASSWORD not in orjson.dumps(checks).decode()
    live = await asyncio.to_thread(plain.get, f"{service.url}/healthz/live")
    assert live.status_code == 200
    answer = await asyncio.to_thread(
        plain.post, service.topic(topic), content=b'"meanwhile"', headers=JSON
    )
    assert answer.status_code == 503
    assert (MAYBE in answer.text) != (NOT in answer.text), answer.text
    assert PASSWORD not in answer.text
    assert "Retry-After" in answer.headers
    await cable.mend()
    await asyncio.to_thread(_wait_until_ready, service)
    await asyncio.to_thread(service.publish, topic, "after")
    async with TRANSPORTS[0].open(service, topic, after="earliest", until="latest") as consumer:
        data = [record["data"] for record in await consumer.rest() if "data" in record]
    assert data in (["before", "after"], ["before", "meanwhile", "after"])
    assert PASSWORD not in service.log
    assert await asyncio.to_thread(service.stop) == 0


async def test_streams_of_an_instance_that_is_cut_off_for_too_long_go_on_at_another_one(
    start_instances: StartInstances, cable: Cable, nats_port: int, topic: str
) -> None:
    (there,) = await asyncio.to_thread(
        start_instances, _url(cable.port), jetstream_replicas=1, log_lost_seconds=3
    )
    (elsewhere,) = await asyncio.to_thread(start_instances, _url(nats_port), jetstream_replicas=1)
    (first, _) = await asyncio.to_thread(elsewhere.publish, topic, 0)
    async with contextlib.AsyncExitStack() as stack:
        consumers = [
            await stack.enter_async_context(transport.open(there, topic, after="earliest"))
            for transport in TRANSPORTS
        ]
        for consumer in consumers:
            assert (await consumer.next("message"))["id"] == first
        await cable.cut()
        cut_at = time.monotonic()
        missed = await asyncio.to_thread(elsewhere.publish, topic, 1, 2)
        ends = [await consumer.next("end") for consumer in consumers]
        assert time.monotonic() - cut_at > 3
    for transport, end in zip(TRANSPORTS, ends, strict=True):
        assert (end["reason"], end["id"], end["reconnect"]) == ("log_failure", first, True)
        assert end["retry"] > 0
        async with transport.open(elsewhere, topic, after=end["id"]) as consumer:
            assert (await consumer.next())["event"] == "resumed"
            assert [each["id"] for each in await consumer.messages(2)] == missed
    await cable.mend()
    await asyncio.to_thread(_wait_until_ready, there)
    async with TRANSPORTS[0].open(there, topic, after=first) as consumer:
        assert (await consumer.next())["event"] == "resumed"
        assert [each["id"] for each in await consumer.messages(2)] == missed


async def test_streams_stay_through_a_loss_that_is_short_and_miss_nothing(
    start_instances: StartInstances, cable: Cable, nats_port: int, topic: str
) -> None:
    (there,) = await asyncio.to_thread(start_instances, _url(cable.port), jetstream_replicas=1)
    (elsewhere,) = await asyncio.to_thread(start_instances, _url(nats_port), jetstream_replicas=1)
    async with contextlib.AsyncExitStack() as stack:
        consumers = [
            await stack.enter_async_context(transport.open(there, topic))
            for transport in TRANSPORTS
        ]
        for consumer in consumers:
            await consumer.next("opened")
        await cable.cut()
        ids = []
        for number in range(20):
            ids += (await asyncio.to_thread(elsewhere.publish, topic, number))[:1]
        await cable.mend()
        for consumer in consumers:
            assert [each["id"] for each in await consumer.messages(20)] == ids
    assert await asyncio.to_thread(there.metric, "riptide_log_reconnects_total") == 1


def test_a_service_that_reaches_no_server_says_so_in_one_line_and_ends(
    starting_in_vain: list[subprocess.Popen[str]],
) -> None:
    for process in starting_in_vain:
        _, said = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 1
        (line,) = [each for each in said.splitlines() if each.startswith("riptide: ")]
        assert "no server of NATS could be reached at 127.0.0.1:1 " in line
        assert "RIPTIDE_JETSTREAM_URLS" in line
        assert PASSWORD not in said
        assert "Traceback" not in said
