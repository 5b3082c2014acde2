"""Fixtures that all tests share."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.hostile_environment import hostile_environment, is_for_others
from tests.nats_servers import Cluster, one_server
from tests.otlp_receiver import OtlpReceiver
from tests.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let whoever runs the tests of the contract choose where the messages are kept."""
    parser.addoption(
        "--engine",
        choices=["jetstream-1", "jetstream-3"],
        help="run all tests of tests/contract on one server of NATS, or on a cluster of three",
    )


def pytest_configure() -> None:
    """Keep what whoever runs the tests has in the environment for other programs out of them.

    Some of it cannot be taken: FastAPI, which the library is tested with, cannot be imported with
    propagators that are not installed, and curl asks a proxy for this machine. What Riptide makes
    of it is tested where a test sets it (``strangers_environment``).
    """
    for variable in [each for each in os.environ if is_for_others(each)]:
        del os.environ[variable]


class StartService(Protocol):
    """Starts a service with settings of its own (``port=…`` for ``RIPTIDE_PORT``).

    Those that begin with ``otel_`` are the standard variables. ``program`` is Python that starts
    it, in place of the command.
    """

    def __call__(self, **settings: Any) -> Service: ...


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[StartService]:
    services: list[Service] = []

    def start(**settings: Any) -> Service:
        directory = tmp_path / f"service-{len(services)}"
        directory.mkdir()
        program = settings.pop("program", None)
        service = Service(directory, settings)
        if program is not None:
            service.command = (sys.executable, "-c", program)
        services.append(service)
        return service.start()

    yield start
    for service in services:
        if service.process is not None and service.process.poll() is None:
            service.kill()
        assert "Traceback" not in service.log, service.log


@pytest.fixture(scope="module")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service with default settings for all tests of a module; each has topics of its own."""
    service = Service(tmp_path_factory.mktemp("service"), {}).start()
    yield service
    assert service.stop() == 0
    assert "Traceback" not in service.log, service.log


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of NATS, whose streams tests name after themselves."""
    with one_server(tmp_path_factory.mktemp("nats")) as url:
        yield url


@pytest.fixture(scope="session")
def running_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three servers of NATS, which a test may have killed or stopped."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
async def cluster(running_cluster: Cluster) -> Cluster:
    """Three servers that run and answer, whatever a test before has done to them."""
    await running_cluster.restore()
    return running_cluster


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic that no other test uses."""
    return "".join(c if c.isalnum() else "-" for c in request.node.name)[-128:].lstrip("-")


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture
def strangers_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The environment of a machine on which HTTP clients have proxies and passwords of others."""
    environment = hostile_environment(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment
