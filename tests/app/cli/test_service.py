from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest
from starlette.responses import Response

from riptide.cli.service import (
    explain,
    open_client,
    problem_of,
    retry_after,
    topic_url,
    unreachable,
)
from tests.app.cli.scripted_service import problem

if TYPE_CHECKING:
    from tests.app.cli.conftest import Run
    from tests.app.cli.scripted_service import ScriptedService


def _answer(service: ScriptedService, response: Response) -> httpx2.Response:
    service.answers.append(response)
    with open_client(10) as client:
        return client.get(topic_url(service.url, "logs"), headers={"Accept": "text/event-stream"})


@pytest.mark.parametrize("topic", ["a b", "a/b", "../logs", "café", "a?b#c", "%2F"])
def test_any_name_of_a_topic_stays_one_part_of_the_path(topic: str) -> None:
    url = httpx2.URL(topic_url("http://x:1/base", topic))
    assert url.raw_path.count(b"/") == 3
    assert url.path == f"/base/topics/{topic}"
    assert not url.query
    assert not url.fragment


def test_the_address_may_end_with_a_slash_and_have_a_path(
    riptide: Run, service: ScriptedService
) -> None:
    assert riptide("publish", "logs", "--url", f"{service.url}/", stdin=b"one").code == 0
    below = riptide("publish", "logs", "--url", f"{service.url}/below/", stdin=b"two")
    assert service.data == ["one"]
    assert f"{service.url}/below/topics/logs answered 404" in below.err


@pytest.mark.parametrize(
    "url", ["localhost:8080", "ftp://x", "http://", "http://x:0", "http://x:y", "http://[::1", ""]
)
def test_what_is_no_address_of_a_service_is_wrong_usage(riptide: Run, url: str) -> None:
    result = riptide("tail", "logs", "--url", url)
    assert (result.code, result.out, result.err.count("\n")) == (2, b"", 1)
    assert result.err.startswith("riptide: Invalid value for '--url'")
    assert "give one like http://localhost:8080" in result.err


def test_answers_are_asked_for_as_they_are_since_compression_holds_messages_back() -> None:
    with open_client(10) as client:
        assert client.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("protocol", ["sse", "ndjson", "websocket"])
def test_a_token_goes_with_every_request(
    riptide: Run, service: ScriptedService, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    monkeypatch.setenv("RIPTIDE_TOKEN", "from.the.environment\n")
    assert riptide("publish", "logs", stdin=b"one").code == 0
    tail = ("tail", "logs", "--protocol", protocol, "--after", "earliest", "--count", "1")
    assert riptide(*tail, "--token", "an.option").out == b"one\n"
    assert service.authorizations == ["Bearer from.the.environment", "Bearer an.option"]


def test_without_a_token_none_is_sent(riptide: Run, service: ScriptedService) -> None:
    assert riptide("publish", "logs", stdin=b"one").code == 0
    assert service.authorizations == [None]


@pytest.mark.parametrize("token", ["a b", "a\r\nX-Header: b", "é"])
def test_what_is_no_token_is_wrong_usage_and_is_not_shown(riptide: Run, token: str) -> None:
    result = riptide("publish", "logs", "--token", token)
    assert (result.code, token in result.err) == (2, False)
    assert "a token has no white space" in result.err


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (problem(400, "'x' is not an id: give earliest"), "'x' is not an id: give earliest"),
        (problem(503, ""), "X"),
        (Response("[1]", 404), "answered 404 Not Found, not as a Riptide service does"),
        (Response(b"\xff", 500), "answered 500 Internal Server Error, not as a Riptide service"),
        (Response("", 308, {"Location": "https://x/"}), "moved to https://x/: give its new --url"),
    ],
)
def test_an_answer_is_explained_by_its_problem_or_else_by_its_status(
    service: ScriptedService, response: Response, expected: str
) -> None:
    assert expected in explain(_answer(service, response))


@pytest.mark.parametrize("body", [b"", b"[1]", b'"text"', b"\xff", b"<h1>no</h1>"])
def test_an_answer_that_is_no_object_has_no_problem_details(
    service: ScriptedService, body: bytes
) -> None:
    assert problem_of(_answer(service, Response(body, 400))) == {}


@pytest.mark.parametrize(
    ("value", "expected"),
    [("3", 3.0), ("0.5", 0.5), ("-2", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("", None)],
)
def test_a_wait_is_read_if_it_is_in_seconds_and_is_never_negative(
    service: ScriptedService, value: str, expected: float | None
) -> None:
    assert retry_after(_answer(service, Response("", 503, {"Retry-After": value}))) == expected


def test_a_service_that_is_not_there_is_told_without_numbers_of_errors() -> None:
    assert unreachable("http://x", OSError("[Errno 111] Connection refused")).startswith(
        "cannot connect to http://x (Connection refused): start it"
    )
    assert "(no answer in time)" in unreachable("http://x", TimeoutError())


@pytest.mark.parametrize("protocol", ["sse", "ndjson", "websocket"])
def test_a_service_on_this_machine_is_reached_whatever_is_for_other_clients(
    riptide: Run,
    service: ScriptedService,
    strangers_environment: dict[str, str],
    protocol: str,
) -> None:
    assert strangers_environment["NETRC"]
    assert riptide("publish", "logs", "--token", "ours", stdin=b"one").code == 0
    tail = ("tail", "logs", "--protocol", protocol, "--after", "earliest", "--count", "1")
    assert riptide(*tail, "--token", "ours").out == b"one\n"
    assert service.authorizations == ["Bearer ours", "Bearer ours"]


@pytest.mark.parametrize("command", [("tail", "logs"), ("publish", "logs"), ("topics",)])
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTPS_PROXY", "socks5://u:s3cret@there:1"),
        ("ALL_PROXY", "foo://u:s3cret@there"),
        ("SSL_CERT_FILE", "/there/is/none"),
    ],
)
def test_what_the_environment_has_wrong_for_a_client_is_told_in_one_line(
    riptide: Run,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    variable: str,
    value: str,
) -> None:
    for name in ("https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    result = riptide(*command, "--url", "https://u:s3cret@riptide.invalid")
    assert (result.code, result.out, result.err.count("\n")) == (1, b"", 1)
    assert result.err.startswith("riptide: cannot connect to https://riptide.invalid: ")
    assert variable in result.err
    assert "s3cret" not in result.err


def test_the_password_of_an_address_is_never_shown(riptide: Run) -> None:
    for url in ("http://u:s3cret@127.0.0.1:1", "http://u:s3cret@127.0.0.1:port"):
        result = riptide("topics", "--url", url)
        assert result.code in {1, 2}
        assert result.err.count("\n") == 1
        assert "s3cret" not in result.err
