from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING

import orjson
import pytest

from tests.app.cli.scripted_service import control, message, message_id

if TYPE_CHECKING:
    from tests.app.cli.conftest import Run, Spawn
    from tests.app.cli.scripted_service import ScriptedService

REPLAY = ("tail", "logs", "--after", "earliest", "--until", "latest")
OPENED = control("opened", id=message_id(0))
COMPLETED = control("end", id=message_id(9), reason="completed", reconnect=False)

protocols = pytest.mark.parametrize("protocol", ["sse", "ndjson", "websocket"])


@protocols
def test_strings_are_printed_as_text_and_other_values_as_they_were_published(
    riptide: Run, service: ScriptedService, protocol: str
) -> None:
    texts = ["plain", "a\u2028b\x85c\x0bd\r", "", '"\\ \U0001f30a', ',"data":']
    values = [b'{"b": 1.0,"a":[1E2,{"data":"x"}]}', b"12345678901234567890123", b"null"]
    service.payloads += [*map(orjson.dumps, texts), *values]
    result = riptide(*REPLAY, "--protocol", protocol)
    assert result == (0, b"".join(line + b"\n" for line in [*_utf8(texts), *values]), "")


def _utf8(texts: list[str]) -> list[bytes]:
    return [text.encode() for text in texts]


@protocols
def test_output_is_the_json_value_or_the_whole_record_if_asked(
    riptide: Run, service: ScriptedService, protocol: str
) -> None:
    service.payloads += [b'"caf\\u00e9"', b"{ }"]
    data = riptide(*REPLAY, "--protocol", protocol, "--output", "data")
    record = riptide(*REPLAY, "--protocol", protocol, "--output", "record")
    assert data.out == b'"caf\\u00e9"\n{ }\n'
    assert record.out == message(1, b'"caf\\u00e9"') + b"\n" + message(2, b"{ }") + b"\n"


def test_members_that_a_later_service_may_add_do_no_harm(
    riptide: Run, service: ScriptedService
) -> None:
    record = b'{"id":"%s","via":{"x":[1,2,3],"data":0},"data":[1.0],"more":1}' % (
        message_id(1).encode()
    )
    service.scripts.append([OPENED, record, control("news", text="x"), COMPLETED])
    assert riptide(*REPLAY) == (0, b"[1.0]\n", "")


def test_losses_are_always_reported_in_one_line_each(
    riptide: Run, service: ScriptedService
) -> None:
    service.scripts.append(
        [
            control("gap", id=message_id(2), missed=2),
            message(3, b"3"),
            control("heartbeat", id=message_id(3)),
            control("dropped", id=message_id(5), missed=2),
            control("reset", id=message_id(0)),
            COMPLETED,
        ]
    )
    result = riptide(*REPLAY)
    assert result.out == b"3\n"
    assert [line.split(":")[1] for line in result.err.splitlines()] == [
        " gap",
        " dropped",
        " reset",
    ]
    assert "2 messages missed" in result.err


def test_verbose_reports_all_that_the_stream_says(riptide: Run, service: ScriptedService) -> None:
    beat, progress = control("heartbeat"), control("progress", completed=1, total=2)
    service.scripts.append([OPENED, beat, progress, COMPLETED])
    assert riptide(*REPLAY, "--verbose").err == (
        f"riptide: opened, after {message_id(0)}\n"
        "riptide: heartbeat\n"
        "riptide: progress: 1 of 2 messages\n"
        "riptide: ended: completed\n"
    )


@protocols
def test_count_stops_after_so_many_messages(
    riptide: Run, service: ScriptedService, protocol: str
) -> None:
    service.payloads += [b"1", b"2", b"3"]
    result = riptide("tail", "logs", "--after", "earliest", "--count", "2", "--protocol", protocol)
    assert result == (0, b"1\n2\n", "")


@protocols
def test_messages_are_printed_as_they_come_and_an_interruption_is_quiet(
    spawn: Spawn, service: ScriptedService, protocol: str
) -> None:
    process = spawn("tail", "logs", "--after", "earliest", "--protocol", protocol)
    assert process.stdout
    for line in (b"one\n", b"two\n"):
        service.payloads.append(b'"' + line.strip() + b'"')
        assert process.stdout.readline() == line
    process.send_signal(signal.SIGINT)
    assert process.communicate() == (b"", b"")
    assert process.returncode == 130


@protocols
def test_a_reader_that_goes_away_ends_it_quietly(
    spawn: Spawn, service: ScriptedService, protocol: str
) -> None:
    service.payloads += [b'"%d"' % n for n in range(50_000)]
    process = spawn("tail", "logs", "--after", "earliest", "--protocol", protocol)
    assert process.stdout
    assert process.stderr
    assert process.stdout.readline() == b"0\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 0


def test_a_replay_of_many_messages_is_complete(spawn: Spawn, service: ScriptedService) -> None:
    service.payloads += [b'"%d"' % n for n in range(100_000)]
    out, _ = spawn(*REPLAY, stderr=subprocess.DEVNULL).communicate()
    assert out == b"".join(b"%d\n" % n for n in range(100_000))
