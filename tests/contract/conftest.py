"""Every test of this folder runs once over each transport, and some on more than one engine."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from benchmarks.endurance.cluster.questions import ask
from tests.contract.consumers import TRANSPORTS
from tests.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import StartService
    from tests.contract.consumers import Transport
    from tests.nats_servers import Cluster

# The log that a test asks for, in memory or on the disk.
ITS_OWN = "its-own"
# Where a log is in NATS, all of the contract depends on the hub, but for what test_delivery.py
# asks: which messages come, and after which id. --engine runs the rest there, too.
ON_EACH_ENGINE = "test_delivery"


@pytest.fixture(params=TRANSPORTS, ids=lambda transport: transport.name)
def transport(request: pytest.FixtureRequest) -> Transport:
    chosen: Transport = request.param
    return chosen


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the engines of a test that starts a service."""
    if "engine" not in metafunc.fixturenames:
        return
    chosen = metafunc.config.getoption("--engine")
    if chosen is not None:
        engines = [chosen]
    elif metafunc.module.__name__.endswith(ON_EACH_ENGINE):
        engines = [ITS_OWN, "jetstream-1"]
    else:
        engines = [ITS_OWN]
    metafunc.parametrize("engine", engines, indirect=True, scope="module")


class Engine(NamedTuple):
    """Where services keep messages: URLs of NATS, and how many servers have each message."""

    urls: str = ""
    replicas: int = 0

    def settings(self) -> dict[str, Any]:
        """Return what a service needs for a stream of its own, in place of ``log``."""
        if not self.urls:
            return {}
        return {
            "log": "jetstream",
            "jetstream_urls": self.urls,
            "jetstream_replicas": self.replicas,
            "jetstream_stream": f"test-{secrets.token_hex(8)}",
        }

    def clear(self, service: Service) -> None:
        """Delete the stream of a service that has ended."""
        stream = service.settings.get("JETSTREAM_STREAM")
        if stream is not None:
            asyncio.run(ask(self.urls.split(","), f"STREAM.DELETE.{stream}"))


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == ITS_OWN:
        return Engine()
    if request.param == "jetstream-1":
        return Engine(request.getfixturevalue("nats_url"), 1)
    cluster: Cluster = request.getfixturevalue("running_cluster")
    asyncio.run(cluster.restore())
    return Engine(cluster.urls, 3)


@pytest.fixture
def start_service(start_service: StartService, engine: Engine) -> Iterator[StartService]:
    """Start services whose messages are on the engine."""
    started: list[Service] = []

    def start(**settings: Any) -> Service:
        started.append(start_service(**settings | engine.settings()))
        return started[-1]

    yield start
    for service in started:
        service.stop()
        engine.clear(service)


@pytest.fixture(scope="module")
def shared_service(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Iterator[Service]:
    """One service for all tests of a module on an engine; each test has topics of its own."""
    service = Service(tmp_path_factory.mktemp("service"), engine.settings()).start()
    yield service
    assert service.stop() == 0
    assert "Traceback" not in service.log, service.log
    engine.clear(service)
