"""Services on disks that become bad while they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.faulty_disk import ServiceOnFaultyDisk, built_shim

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class StartOnFaultyDisk(Protocol):
    """Starts a service on a disk that is sound until a test disturbs it."""

    def __call__(self, **settings: Any) -> ServiceOnFaultyDisk: ...


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_shim(tmp_path_factory)


@pytest.fixture
def start_on_faulty_disk(library: Path, tmp_path: Path) -> Iterator[StartOnFaultyDisk]:
    services: list[ServiceOnFaultyDisk] = []

    def start(**settings: Any) -> ServiceOnFaultyDisk:
        directory = tmp_path / f"service-{len(services)}"
        directory.mkdir()
        service = ServiceOnFaultyDisk(directory, library, settings)
        services.append(service)
        service.start()
        return service

    yield start
    for service in services:
        if service.is_running:
            service.kill()
        assert "Traceback" not in service.log, service.log


@pytest.fixture
def service(start_on_faulty_disk: StartOnFaultyDisk) -> ServiceOnFaultyDisk:
    """A service with default settings, on a disk that is sound as yet."""
    return start_on_faulty_disk()
