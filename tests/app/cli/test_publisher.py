from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from starlette.responses import Response

from riptide.cli import batches
from tests.app.cli.scripted_service import problem

if TYPE_CHECKING:
    from tests.app.cli.conftest import Cutting, Run
    from tests.app.cli.scripted_service import ScriptedService


def test_a_batch_that_the_service_finds_too_large_is_split_and_later_ones_are_smaller(
    riptide: Run, service: ScriptedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "BATCH_BYTES", 4000)
    service.max_body = 1000
    lines = [f"line {n}" for n in range(2000)]
    assert riptide("publish", "logs", stdin="\n".join(lines).encode()).code == 0
    assert service.data == lines
    assert sum(len(body) > 1000 for body in service.bodies) < 10
    assert 30 < len(service.bodies) < 100


@pytest.mark.parametrize("limit", ["max_body", "max_message"])
def test_a_line_that_is_too_large_is_named_and_those_before_it_are_published(
    riptide: Run, service: ScriptedService, limit: str
) -> None:
    setattr(service, limit, 1000)
    result = riptide("publish", "logs", stdin=b"one\ntwo\n" + b"x" * 2000 + b"\nfour\n")
    assert result.code == 1
    assert service.data == ["one", "two"]
    assert result.err.startswith("riptide: line 3 is refused: ")
    assert result.err.endswith("; 2 messages acknowledged, continue with --skip 2\n")


def test_a_line_that_is_not_json_is_named_by_its_number_in_the_input(
    riptide: Run, service: ScriptedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "BATCH_LINES", 3)
    result = riptide("publish", "events", "--format", "ndjson", stdin=b"1\n\n2\n3\n4\n{\n6")
    assert service.data == [1, 2, 3, 4]
    assert result == (
        1,
        b"",
        (
            "riptide: line 6 is refused: not valid JSON: repair it; "
            "4 messages acknowledged, continue with --skip 5\n"
        ),
    )


def test_a_busy_service_is_asked_again_when_it_says(riptide: Run, service: ScriptedService) -> None:
    service.answers += [
        problem(503, "draining", retry_after=0),
        problem(429, "slow down", retry_after=0.01),
        Response(status_code=503),
    ]
    assert riptide("publish", "logs", stdin=b"x").code == 0
    assert service.data == ["x"]
    assert len(service.bodies) == 4


def test_a_wait_longer_than_the_user_allows_fails_at_once(
    riptide: Run, service: ScriptedService
) -> None:
    service.answers.append(problem(503, "full: come back later", retry_after=3600))
    result = riptide("publish", "logs", "--retry-for", "5", stdin=b"x")
    assert result == (1, b"", "riptide: full: come back later; nothing was published\n")
    assert len(service.bodies) == 1


@pytest.mark.parametrize("seconds", ["0", "0.05"])
def test_a_service_that_is_not_there_is_given_up_in_one_line(riptide: Run, seconds: str) -> None:
    result = riptide(
        "publish", "logs", "--retry-for", seconds, "--url", "http://127.0.0.1:1", stdin=b"x"
    )
    assert result == (
        1,
        b"",
        (
            "riptide: cannot connect to http://127.0.0.1:1 (Connection refused): start it with "
            "riptide serve, or check --url; nothing was published\n"
        ),
    )


def test_a_batch_without_an_answer_is_not_sent_again(
    riptide: Run, service: ScriptedService, cutting: Cutting
) -> None:
    proxy = cutting(5)
    result = riptide("publish", "logs", "--url", proxy.url, stdin=b"one\ntwo\n")
    assert service.data == ["one", "two"]
    assert proxy.connections == 1
    assert result.code == 1
    assert result.err.count("\n") == 1
    assert result.err.endswith(
        "; 0 messages acknowledged, lines 1 to 2 may or may not be published: continue with "
        "--skip 0 to publish them (again) or --skip 2 to leave them out\n"
    )


def test_a_fault_of_the_service_leaves_the_outcome_open(
    riptide: Run, service: ScriptedService
) -> None:
    service.answers.append(problem(500, "something broke: see the log"))
    result = riptide("publish", "logs", "--skip", "1", stdin=b"one\ntwo\n")
    assert len(service.bodies) == 1
    assert result.err == (
        "riptide: something broke: see the log; 0 messages acknowledged, line 2 may or may not "
        "be published: continue with --skip 1 to publish it (again) or --skip 2 to leave it out\n"
    )


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (problem(400, "'a b' is not\na topic name"), "'a b' is not a topic name"),
        (Response("<h1>no</h1>", 404), "404 Not Found, not as a Riptide service does: check --url"),
        (Response("hello", 202), "202 Accepted, not as a Riptide service does: check --url"),
        (Response("", 301, {"Location": "https://x/"}), "moved to https://x/: give its new --url"),
    ],
)
def test_a_refusal_is_told_in_one_line(
    riptide: Run, service: ScriptedService, answer: Response, expected: str
) -> None:
    service.answers.append(answer)
    result = riptide("publish", "a b", stdin=b"x")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert expected in result.err
