from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.cli.conftest import Run, Spawn
    from tests.app.cli.scripted_service import ScriptedService


def test_empty_input_publishes_nothing(riptide: Run, service: ScriptedService) -> None:
    result = riptide("publish", "logs", stdin=b"")
    assert result == (0, b"", "riptide: published 0 messages to logs\n")
    assert service.bodies == []


def test_quiet_says_nothing(riptide: Run, service: ScriptedService) -> None:
    assert riptide("publish", "--quiet", "logs", stdin=b"x") == (0, b"", "")
    assert service.data == ["x"]


def test_the_format_goes_before_the_name_of_the_file(
    riptide: Run, service: ScriptedService, tmp_path: Path
) -> None:
    file = tmp_path / "events.ndjson"
    file.write_bytes(b"[1]\n")
    riptide("publish", "events", "--format", "lines", str(file))
    riptide("publish", "events", "--format", "ndjson", "-", stdin=b"[2]")
    assert service.data == ["[1]", [2]]


@pytest.mark.parametrize("file", ["missing.log", "."])
def test_a_file_that_cannot_be_read_is_told_in_one_line(riptide: Run, file: str) -> None:
    result = riptide("publish", "logs", file)
    assert (result.code, result.err.count("\n")) == (1, 1)


def test_lines_of_a_slow_input_are_published_while_it_is_open(
    spawn: Spawn,
    service: ScriptedService,
) -> None:
    process = spawn("publish", "logs")
    assert process.stdin
    written = []
    for text in (b"one\n", b"two\nhalf ", b"a line\n"):
        process.stdin.write(text)
        process.stdin.flush()
        written.append(text)
        wait_until(lambda: len(service.payloads) == len(written))
    assert service.data == ["one", "two", "half a line"]
    process.stdin.close()
    assert process.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_tells_what_is_acknowledged(
    spawn: Spawn,
    service: ScriptedService,
    number: signal.Signals,
) -> None:
    process = spawn("publish", "logs")
    assert process.stdin
    assert process.stderr
    process.stdin.write(b"one\ntwo\n")
    process.stdin.flush()
    wait_until(lambda: len(service.payloads) == 2)
    service.holding = True  # the answer to the next batch
    process.stdin.write(b"three\n")
    process.stdin.flush()
    wait_until(lambda: len(service.bodies) == 2)
    process.send_signal(number)
    assert process.stderr.read() == (
        b"riptide: interrupted; 2 messages acknowledged, line 3 may or may not be published: "
        b"continue with --skip 2 to publish it (again) or --skip 3 to leave it out\n"
    )
    assert process.wait() == 130
