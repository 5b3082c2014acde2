from __future__ import annotations

import pytest

from riptide_telemetry.otlp.http_session import ExportSession

URL = "https://collector:4318/v1/metrics"


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> ExportSession:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/everybodys.pem")
    return ExportSession()


def test_a_certificate_of_the_session_goes_before_that_of_the_environment(
    session: ExportSession,
) -> None:
    session.verify = "/ours.pem"
    assert session.merge_environment_settings(URL, {}, None, None, None)["verify"] == "/ours.pem"


def test_without_one_the_environment_counts(session: ExportSession) -> None:
    settings = session.merge_environment_settings(URL, {}, None, None, None)
    assert settings["verify"] == "/everybodys.pem"
