from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from riptide.errors import InvalidSettingsError
from riptide.main import create_app
from riptide.settings.settings import Settings
from riptide.storage.memory import MemoryLog
from riptide.storage.sqlite import SqliteLog
from tests.app.endpoints.answers import ask, publish

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.applications import Starlette


def test_nothing_is_created_before_the_application_runs(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path / "data"))
    assert isinstance(app.state.log, SqliteLog)
    assert list(tmp_path.iterdir()) == []


def test_without_settings_those_of_the_environment_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RIPTIDE_LOG", "memory")
    monkeypatch.setenv("RIPTIDE_MAX_CONNECTIONS", "7")
    app = create_app()
    assert isinstance(app.state.log, MemoryLog)
    assert app.state.streams.limit == 7
    monkeypatch.setenv("RIPTIDE_LOG", "stone")
    with pytest.raises(InvalidSettingsError):
        create_app()


async def test_two_applications_in_a_process_share_nothing(app: Starlette) -> None:
    other = create_app(Settings(log="memory"))
    await publish(app, "a", b"1")
    assert (await other.state.log.bounds("a")).head == 0
    for name in ("riptide_streaming_messages_published_total", "riptide_draining"):
        assert name.encode() in (await ask(other, "GET", "/metrics")).body
    published = b'riptide_streaming_messages_published_total{outcome="accepted"} '
    assert published + b"1.0" in (await ask(app, "GET", "/metrics")).body
    assert published + b"0.0" in (await ask(other, "GET", "/metrics")).body
    other.state.telemetry.shutdown()


async def test_the_gauges_are_read_from_their_owners(app: Starlette) -> None:
    def samples(body: bytes) -> dict[str, float]:
        lines = [line for line in body.decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    before = samples((await ask(app, "GET", "/metrics")).body)
    await publish(app, "a", b"12345")
    app.state.streams.draining = True
    app.state.streams.limit = 42
    after = samples((await ask(app, "GET", "/metrics")).body)
    app.state.streams.draining = False
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


def test_a_wrong_variable_of_opentelemetry_is_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "syslog")
    with pytest.raises(InvalidSettingsError, match="OTEL_LOGS_EXPORTER is 'syslog'"):
        create_app(Settings(log="memory"))
