from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from riptide.cli import batches
from riptide.settings.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.cli.conftest import Run
    from tests.app.cli.scripted_service import ScriptedService

UNUSUAL = 'a\r\n\n\u2028b\u2029\x85c\x0b\x0c\x1cé \U0001f30a\0"\\\nlast'


def test_a_batch_is_within_what_a_service_takes_by_default() -> None:
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    assert defaults["max_batch_messages"] >= batches.BATCH_LINES
    assert defaults["max_body_bytes"] >= batches.BATCH_BYTES


def test_each_line_becomes_a_message_and_only_a_line_feed_ends_it(
    riptide: Run, service: ScriptedService
) -> None:
    result = riptide("publish", "logs", stdin=UNUSUAL.encode())
    assert service.data == UNUSUAL.split("\n")
    assert result == (0, b"", "riptide: published 4 messages to logs (last id 0badcafe-4)\n")


def test_a_line_feed_at_the_end_makes_no_empty_message(
    riptide: Run, service: ScriptedService
) -> None:
    riptide("publish", "logs", stdin=b"one\n\n")
    assert service.data == ["one", ""]


def test_ndjson_is_passed_through_as_it_is(
    riptide: Run, service: ScriptedService, tmp_path: Path
) -> None:
    lines = [b'{"b": 1.0, "a":"\\u00e9"}', b"12345678901234567890123", b' ["\xe2\x80\xa8"]\r']
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"\n\r\n".join(lines))
    assert riptide("publish", "events", str(file)).code == 0
    assert service.payloads == lines


def test_other_encodings_are_decoded(riptide: Run, service: ScriptedService) -> None:
    riptide("publish", "logs", "--encoding", "latin-1", stdin="café\x85".encode("latin-1"))
    riptide(
        "publish",
        "logs",
        "--encoding",
        "gb18030",
        "--format",
        "ndjson",
        stdin='"晚"'.encode("gb18030"),
    )
    assert service.data == ["café\x85", "晚"]


def test_a_line_in_another_encoding_is_named_and_those_before_it_are_published(
    riptide: Run, service: ScriptedService
) -> None:
    result = riptide("publish", "logs", stdin=b"one\ntwo\ncaf\xe9\nfour")
    assert result.code == 1
    assert service.data == ["one", "two"]
    assert result.err == (
        "riptide: line 3 is not utf-8 (byte 0xe9 at its position 4): name the input's encoding, "
        "as with --encoding latin-1; 2 messages acknowledged, continue with --skip 2\n"
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-7", "cp037", "klingon", "base64"])
def test_an_encoding_without_lines_is_refused_in_one_line(riptide: Run, encoding: str) -> None:
    result = riptide("publish", "logs", "--encoding", encoding)
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert encoding in result.err


def test_a_large_input_goes_in_large_batches_that_stay_under_the_limit(
    riptide: Run, service: ScriptedService, tmp_path: Path
) -> None:
    lines = [f"{n} " + "\x01" * 200 for n in range(5000)]  # six bytes a character, once escaped
    file = tmp_path / "big.log"
    file.write_text("\n".join(lines))
    assert riptide("publish", "logs", str(file)).code == 0
    assert service.data == lines
    assert max(map(len, service.bodies)) <= batches.BATCH_BYTES
    assert len(service.bodies) < 10


MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MARK + b"one\ntwo", ["one", "two"]),
        (MARK + b"one", ["one"]),
        (MARK + b"\n", [""]),
        (MARK, []),
        (b"one\n" + MARK + b"two", ["one", "\ufefftwo"]),
        (MARK + MARK + b"one", ["\ufeffone"]),
    ],
)
def test_a_byte_order_mark_before_the_input_is_no_part_of_it(
    text: bytes, expected: list[str], riptide: Run, service: ScriptedService
) -> None:
    assert riptide("publish", "logs", stdin=text).code == 0
    assert service.data == expected


def test_a_byte_order_mark_before_ndjson_is_no_part_of_it(
    riptide: Run, service: ScriptedService
) -> None:
    riptide("publish", "logs", "--format", "ndjson", stdin=MARK + b"1\r\n2\r\n")
    assert service.data == [1, 2]


def test_bytes_that_are_a_mark_in_utf_8_only_are_text_in_other_encodings(
    riptide: Run, service: ScriptedService
) -> None:
    riptide("publish", "logs", "--encoding", "latin-1", stdin=MARK + b"one")
    assert service.data == [MARK.decode("latin-1") + "one"]


def test_carriage_returns_before_line_feeds_are_left_out_on_request(
    riptide: Run, service: ScriptedService
) -> None:
    riptide("publish", "logs", "--crlf", stdin=b"one\r\n\r\ntw\ro\r\r\nthree\n")
    assert service.data == ["one", "", "tw\ro\r", "three"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_input_in_utf_16_is_told_what_it_is(
    encoding: str, riptide: Run, service: ScriptedService
) -> None:
    mark = b"" if encoding == "utf-16" else b"\xfe\xff"
    result = riptide("publish", "logs", stdin=mark + "one\n".encode(encoding))
    assert result.code == 1
    assert "line 1 is UTF-16" in result.err
    assert service.payloads == []


def test_skip_continues_after_that_many_lines(riptide: Run, service: ScriptedService) -> None:
    riptide("publish", "logs", "--skip", "2", stdin=b"one\ntwo\nthree\nfour")
    riptide("publish", "logs", "--skip", "9", stdin=b"one\n")
    assert service.data == ["three", "four"]


def test_bodies_are_ndjson(riptide: Run, service: ScriptedService) -> None:
    riptide("publish", "logs", stdin=b"one\ntwo\n")
    assert service.bodies == [b'"one"\n"two"']
    assert [orjson.loads(line) for line in service.bodies[0].split(b"\n")] == ["one", "two"]
