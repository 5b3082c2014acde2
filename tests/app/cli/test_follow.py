from __future__ import annotations

import random
from typing import TYPE_CHECKING

import orjson
import pytest
from starlette.responses import Response

from tests.app.cli.scripted_service import control, message, message_id, problem

if TYPE_CHECKING:
    from tests.app.cli.conftest import Cutting, Run
    from tests.app.cli.scripted_service import ScriptedService

REPLAY = ("tail", "logs", "--after", "earliest", "--until", "latest")
OPENED = control("opened", id=message_id(0))
COMPLETED = control("end", id=message_id(9), reason="completed", reconnect=False)

protocols = pytest.mark.parametrize("protocol", ["sse", "ndjson", "websocket"])


@protocols
def test_nothing_is_lost_or_repeated_when_connections_are_cut_anywhere(
    riptide: Run,
    service: ScriptedService,
    cutting: Cutting,
    protocol: str,
) -> None:
    chance = random.Random(protocol)
    lines = [f"line {n} " + "\u2028é" * chance.randrange(40) for n in range(2000)]
    service.payloads += map(orjson.dumps, lines)
    proxy = cutting(*(chance.randrange(1, 20_000) for _ in range(25)))
    result = riptide(*REPLAY, "--protocol", protocol, "--url", proxy.url)
    assert result.code == 0
    assert result.out.decode().split("\n") == [*lines, ""]
    assert proxy.connections > 10


@protocols
def test_each_cut_within_the_first_records_is_survived(
    riptide: Run, service: ScriptedService, cutting: Cutting, protocol: str
) -> None:
    service.payloads += [b'"one"', b"[2]"]
    proxy = cutting(*range(1, 600, 7))
    for _ in range(20):
        assert riptide(*REPLAY, "--protocol", protocol, "--url", proxy.url).out == b"one\n[2]\n"


@protocols
def test_an_end_that_asks_to_reconnect_is_obeyed_from_its_cursor(
    riptide: Run, service: ScriptedService, protocol: str
) -> None:
    draining = control("end", id=message_id(7), reason="draining", reconnect=True, retry=1)
    service.scripts += [[OPENED, message(1, b"1"), draining], [OPENED, message(8, b"8"), COMPLETED]]
    assert riptide(*REPLAY, "--protocol", protocol) == (0, b"1\n8\n", "")
    assert [query["after"] for query in service.queries] == ["earliest", message_id(7)]
    assert service.queries[1]["until"] == "latest"


def test_an_end_that_forbids_to_reconnect_is_an_error(
    riptide: Run, service: ScriptedService
) -> None:
    end = control("end", id=message_id(3), reason="x", detail="too far behind", reconnect=False)
    service.scripts.append([OPENED, end])
    assert riptide(*REPLAY) == (
        1,
        b"",
        (
            f"riptide: the service ended the stream: too far behind; "
            f"continue with --after {message_id(3)}\n"
        ),
    )


def test_no_reconnect_fails_at_the_first_loss_and_says_where_to_go_on(
    riptide: Run, service: ScriptedService
) -> None:
    draining = control("end", id=message_id(7), reason="draining", reconnect=True, retry=1)
    service.scripts += [[OPENED, message(5, b"5")], [OPENED, draining]]
    cut, drained = (riptide(*REPLAY, "--no-reconnect") for _ in range(2))
    assert (cut.code, cut.out) == (1, b"5\n")
    assert cut.err.endswith(f"; continue with --after {message_id(5)}\n")
    assert drained.err == (
        f"riptide: the service ended the stream: draining; continue with --after {message_id(7)}\n"
    )


@protocols
def test_a_service_without_room_is_tried_again(
    riptide: Run, service: ScriptedService, protocol: str
) -> None:
    service.payloads.append(b"1")
    service.answers += [problem(503, "full", retry_after=0), problem(429, "wait")]
    assert riptide(*REPLAY, "--protocol", protocol) == (0, b"1\n", "")


@protocols
def test_a_refusal_is_told_in_one_line(
    riptide: Run, service: ScriptedService, protocol: str
) -> None:
    service.answers.append(problem(400, "'x' is not a message id:\ngive earliest"))
    result = riptide("tail", "logs", "--after", "x", "--protocol", protocol)
    assert result == (1, b"", "riptide: 'x' is not a message id: give earliest\n")


def test_a_service_that_stays_away_is_given_up_in_one_line(riptide: Run) -> None:
    result = riptide("tail", "logs", "--retry-for", "0.05", "--url", "http://127.0.0.1:1")
    assert result == (
        1,
        b"",
        (
            "riptide: cannot connect to http://127.0.0.1:1 (Connection refused): start it with "
            "riptide serve, or check --url (tried for 0.05 seconds)\n"
        ),
    )


@pytest.mark.parametrize(
    "answer",
    [
        Response("<h1>Welcome</h1>", media_type="text/html"),
        Response('{"hello": 1}\n', media_type="application/x-ndjson"),
        Response("not json\n", media_type="application/x-ndjson"),
    ],
)
def test_something_else_than_a_service_is_told_in_one_line(
    riptide: Run, service: ScriptedService, answer: Response
) -> None:
    service.answers.append(answer)
    result = riptide("tail", "logs", "--protocol", "ndjson")
    assert (result.code, result.out, result.err.count("\n")) == (1, b"", 1)
