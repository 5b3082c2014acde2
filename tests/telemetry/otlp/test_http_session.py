from __future__ import annotations

import pytest
import requests

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


def test_an_entry_of_netrc_does_not_replace_the_configured_header(
    session: ExportSession, strangers_environment: dict[str, str]
) -> None:
    assert strangers_environment["NETRC"]
    configured = requests.Request("POST", "http://localhost/", {"authorization": "Bearer ours"})
    assert session.prepare_request(configured).headers["Authorization"] == "Bearer ours"


def test_proxies_are_those_of_the_environment_except_for_this_machine(
    session: ExportSession, strangers_environment: dict[str, str]
) -> None:
    def proxies(url: str) -> dict[str, str]:
        settings = session.merge_environment_settings(url, {}, None, None, None)
        return {name: proxy for name, proxy in settings["proxies"].items() if name != "no"}

    assert proxies(URL)["https"] == strangers_environment["HTTPS_PROXY"]
    assert proxies("http://localhost:4318") == proxies("http://127.0.0.1:4318") == {}
