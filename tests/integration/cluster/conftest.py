"""Instances that share a log in a cluster of NATS: all of them are real processes."""

from __future__ import annotations

import contextlib
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.nats_servers import Cluster


@pytest.fixture
def stream() -> str:
    """A stream that no other test uses."""
    return f"test-{secrets.token_hex(4)}"


class StartInstances(Protocol):
    """Starts instances that share a log, all at once."""

    def __call__(self, urls: str, count: int = 1, **settings: Any) -> list[Service]: ...


@contextlib.contextmanager
def _instances(directory: Path, stream: str) -> Iterator[StartInstances]:
    services: list[Service] = []

    def start(urls: str, count: int = 1, **settings: Any) -> list[Service]:
        for _ in range(count):
            home = directory / f"instance-{len(services)}"
            home.mkdir()
            shared = {
                "log": "jetstream",
                "jetstream_urls": urls,
                "jetstream_stream": stream,
                "instance": home.name,
                "heartbeat_seconds": 1,
                "retry_seconds": 0.3,
            }
            services.append(Service(home, shared | settings))
        with ThreadPoolExecutor() as pool:
            return list(pool.map(Service.start, services[-count:]))

    yield start
    for service in services:
        if service.process is not None and service.process.poll() is None:
            service.kill()
        assert "Traceback" not in service.log, service.log


@pytest.fixture
def start_instances(tmp_path: Path, stream: str) -> Iterator[StartInstances]:
    """Starts instances on the stream of this test."""
    with _instances(tmp_path, stream) as start:
        yield start


@pytest.fixture(scope="session")
def three_instances(
    running_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Service]]:
    """Three instances on the stream ``shared``, for tests that leave them as they are."""
    with _instances(tmp_path_factory.mktemp("instances"), "shared") as start:
        instances = start(running_cluster.urls, 3)
        yield instances
        assert [instance.stop() for instance in instances] == [0, 0, 0]
