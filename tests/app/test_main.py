from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from riptide.errors import InvalidSettingsError
from riptide.main import create_app, make_app, make_metrics_app
from riptide.service import make_service
from riptide.settings.settings import Settings
from tests.app.endpoints.answers import ask, publish

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.applications import Starlette


async def test_without_settings_those_of_the_environment_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RIPTIDE_LOG", "memory")
    monkeypatch.setenv("RIPTIDE_MAX_CONNECTIONS", "7")
    page = (await ask(create_app(), "GET", "/metrics")).body
    assert b"\nriptide_connection_limit 7.0\n" in page
    monkeypatch.setenv("RIPTIDE_LOG", "stone")
    with pytest.raises(InvalidSettingsError):
        create_app()


def test_making_an_application_changes_nothing_outside_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_SEMCONV_STABILITY_OPT_IN")
    before = dict(os.environ)
    create_app(Settings(data_dir=tmp_path / "data"))
    assert dict(os.environ) == before
    assert list(tmp_path.iterdir()) == []


async def test_metrics_and_health_are_where_the_settings_want_them() -> None:
    together = make_service(Settings(log="memory"))
    apart = make_service(Settings(log="memory", metrics_port=0))
    for path in ("/metrics", "/metrics/targets", "/healthz/live", "/healthz/ready"):
        assert (await ask(make_app(together), "GET", path)).status == 200
        assert (await ask(make_app(apart), "GET", path)).status == 404
        assert (await ask(make_metrics_app(apart), "GET", path)).status == 200
    assert (await ask(make_metrics_app(apart), "GET", "/topics")).status == 404


async def test_two_applications_in_a_process_share_nothing(app: Starlette) -> None:
    other_service = make_service(Settings(log="memory"))
    other = make_app(other_service)
    await publish(app, "a", b"1")
    assert (await other_service.log.bounds("a")).head == 0
    for name in ("riptide_streaming_messages_published_total", "riptide_draining"):
        assert name.encode() in (await ask(other, "GET", "/metrics")).body
    published = b'riptide_streaming_messages_published_total{outcome="accepted"} '
    assert published + b"1.0" in (await ask(app, "GET", "/metrics")).body
    assert published + b"0.0" in (await ask(other, "GET", "/metrics")).body
    other_service.telemetry.shutdown()
