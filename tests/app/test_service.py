from __future__ import annotations

import dataclasses
import socket
from typing import TYPE_CHECKING, Any

import pytest

from riptide.errors import InvalidSettingsError, KeyFileError
from riptide.service import make_service
from riptide.settings.settings import Settings
from riptide.storage.memory import MemoryLog
from riptide.storage.sqlite import SqliteLog
from tests.app.endpoints.answers import ask, publish

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.applications import Starlette

    from riptide.service import Service


def test_nothing_is_created_before_the_service_runs(tmp_path: Path) -> None:
    service = make_service(Settings(data_dir=tmp_path / "data"))
    assert isinstance(service.log, SqliteLog)
    assert list(tmp_path.iterdir()) == []


def test_the_settings_choose_the_log_and_the_limits() -> None:
    service = make_service(Settings(log="memory", max_connections=7))
    assert isinstance(service.log, MemoryLog)
    assert service.streams.limit == 7


def test_the_parts_of_a_service_cannot_be_exchanged(service: Service) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        service.log = MemoryLog(None)  # type: ignore[misc, arg-type]  # what is tried here


def test_a_token_of_operators_that_cannot_be_read_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="token for metrics"):
        make_service(Settings(log="memory", metrics_token_file=tmp_path / "none"))


async def test_the_gauges_are_read_from_their_owners(app: Starlette, service: Service) -> None:
    def samples(body: bytes) -> dict[str, float]:
        lines = [line for line in body.decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    before = samples((await ask(app, "GET", "/metrics")).body)
    await publish(app, "a", b"12345")
    service.streams.draining = True
    service.streams.limit = 42
    after = samples((await ask(app, "GET", "/metrics")).body)
    service.streams.draining = False
    changed = {
        name: (before[name], after[name])
        for name in (
            "riptide_connection_limit",
            "riptide_draining",
            "riptide_log_size_bytes",
            "riptide_topics",
        )
    }
    assert changed == {
        "riptide_connection_limit": (3, 42),
        "riptide_draining": (0, 1),
        "riptide_log_size_bytes": (0, 5),
        "riptide_topics": (0, 0),
    }


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"instance": "tide-1"}, "tide-1"),
        ({"instance": "tide-1", "port": 0}, "tide-1"),
        # Several instances of a host differ by their ports.
        ({"port": 8081}, f"{socket.gethostname()}:8081"),
    ],
)
async def test_telemetry_knows_an_instance_by_its_name_or_its_address(
    settings: dict[str, Any], expected: str
) -> None:
    service = make_service(Settings(log="memory", **settings))
    page = (await service.telemetry.exposition.scrape()).body.decode()
    assert f'service_instance_id="{expected}"' in page


def test_a_wrong_variable_of_opentelemetry_is_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "syslog")
    with pytest.raises(InvalidSettingsError, match="OTEL_LOGS_EXPORTER is 'syslog'"):
        make_service(Settings(log="memory"))
