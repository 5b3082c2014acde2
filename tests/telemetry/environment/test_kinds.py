from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from riptide_telemetry.environment import kinds
from riptide_telemetry.environment.kinds import InvalidTelemetryError, Kind

if TYPE_CHECKING:
    from pathlib import Path

# As a variable has it whose bytes are no UTF-8.
NO_TEXT = b"\xff".decode("utf-8", "surrogateescape")
EVERY_KIND: dict[str, Kind[Any]] = {
    "text": kinds.TEXT,
    "boolean": kinds.BOOLEAN,
    "file": kinds.FILE,
    "headers": kinds.HEADERS,
    "attributes": kinds.ATTRIBUTES,
    "patterns": kinds.PATTERNS,
    "status codes": kinds.GRPC_STATUS_CODES,
    "whole number": kinds.whole_number(1, 10),
    "number": kinds.number(1, 10, "milliseconds"),
    "one of": kinds.one_of("this", "that"),
    "exporters": kinds.exporters("otlp"),
    "installed": kinds.installed("opentelemetry_resource_detector"),
    "endpoint": kinds.endpoint(),
    "endpoint of gRPC": kinds.grpc_endpoint("http"),
}
# Almost anything is a text, a regular expression or the name of a host.
FREE = {"text", "patterns", "endpoint of gRPC"}


@pytest.mark.parametrize("kind", EVERY_KIND.values(), ids=EVERY_KIND)
def test_bytes_that_are_no_text_are_refused_and_shown_in_ascii(kind: Kind[Any]) -> None:
    with pytest.raises(InvalidTelemetryError, match=r"OTEL_X .*must be text in UTF-8") as raised:
        kind.read("OTEL_X", f"a{NO_TEXT}")
    assert str(raised.value).isprintable()
    str(raised.value).encode()


@pytest.mark.parametrize(
    "kind",
    [each for name, each in EVERY_KIND.items() if name not in FREE],
    ids=[name for name in EVERY_KIND if name not in FREE],
)
@pytest.mark.parametrize("value", ["9" * 100_000, "nonsense\n[(", "-1", "ü→", "\0", "1e999", "٣"])
def test_nonsense_is_refused_in_one_short_line(kind: Kind[Any], value: str) -> None:
    with pytest.raises(InvalidTelemetryError) as raised:
        kind.read("OTEL_X", value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_numbers_within_their_bounds_are_taken() -> None:
    whole, number = kinds.whole_number(0, 10), kinds.number(0.5, 10)
    assert [whole.read("X", each) for each in ("0", "10", "007")] == [0, 10, 7]
    assert [number.read("X", each) for each in ("0.5", "10", "1e1")] == [0.5, 10, 10]
    for kind, value in ((whole, "11"), (whole, "1.0"), (whole, "1_0"), (number, "1_0")):
        with pytest.raises(InvalidTelemetryError, match="from 0"):
            kind.read("X", value)
    for value in ("0.4", "10.1", "nan", "inf"):
        with pytest.raises(InvalidTelemetryError, match=r"a number from 0\.5 to 10$"):
            number.read("X", value)


def test_words_are_taken_in_any_case() -> None:
    assert kinds.BOOLEAN.read("X", "TRUE") is True
    assert kinds.BOOLEAN.read("X", "false") is False
    assert kinds.one_of("gzip", "none").read("X", "GZip") == "gzip"
    assert kinds.exporters("prometheus", "otlp").read("X", "OTLP,") == {"otlp"}
    assert kinds.GRPC_STATUS_CODES.read("X", "unavailable, ABORTED") == ["UNAVAILABLE", "ABORTED"]


@pytest.mark.parametrize("value", ["1", "yes", "on", "truee"])
def test_a_boolean_is_true_or_false(value: str) -> None:
    with pytest.raises(InvalidTelemetryError, match="must be true or false"):
        kinds.BOOLEAN.read("X", value)


def test_headers_are_read_as_the_exporters_read_them() -> None:
    value = "X-Tenant=tide, authorization=Basic%20YTpi==, plain=with space,"
    assert kinds.HEADERS.read("X", value) == {
        "x-tenant": "tide",
        "authorization": "Basic YTpi==",
        "plain": "with space",
    }


@pytest.mark.parametrize(
    "value",
    [
        "Bearer s3cret",
        "=s3cret",
        "authorization=Bearer s3cret;more",
        'authorization="s3cret"',
        "authorization=s3cret\\",
        "authorization=s3cret%0d%0aX-Other: b",
        "authorization=s3cret%00",
        "authorization=s3crét",
        "authorization=s3cret%C3%A9",
        "authorization=s3cret%ff",
        "autho rization=s3cret",
        "authorization%3A=s3cret",
        "key-bin=s3cret",
        "a=b,s3cret",
    ],
)
def test_a_header_that_would_not_be_sent_is_refused_and_never_repeated(value: str) -> None:
    with pytest.raises(InvalidTelemetryError, match="OTEL_X must be name=value") as raised:
        kinds.HEADERS.read("OTEL_X", value)
    assert "s3cr" not in str(raised.value)


def test_attributes_are_pairs_and_wrong_ones_are_not_repeated() -> None:
    assert kinds.ATTRIBUTES.read("X", "a=b%20c, d = =,") == {"a": "b c", "d": "="}
    for value in ("s3cret", "a=b,s3cret", "=s3cret"):
        with pytest.raises(InvalidTelemetryError, match="OTEL_X must be name=value") as raised:
            kinds.ATTRIBUTES.read("OTEL_X", value)
        assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("value", ["[", "(?P<", "a{99999999999}", "ok,(", "a,(?i)b"])
def test_patterns_are_tried_as_the_instrumentation_uses_them(value: str) -> None:
    with pytest.raises(InvalidTelemetryError, match="must be regular expressions"):
        kinds.PATTERNS.read("X", value)


def test_patterns_that_fit_are_taken() -> None:
    assert kinds.PATTERNS.read("X", ".*session.*, set-cookie") == [".*session.*", "set-cookie"]


def test_plug_ins_are_those_that_are_installed() -> None:
    detectors = kinds.installed("opentelemetry_resource_detector", "*")
    assert detectors.read("X", "process, *") == ["process", "*"]
    with pytest.raises(InvalidTelemetryError, match="opentelemetry_resource_detector"):
        detectors.read("X", "process,nowhere")


def test_a_file_is_one_that_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.touch()
    assert kinds.FILE.read("X", str(file)) == str(file)
    for missing in (tmp_path / "none", tmp_path, "/dev/zero"):
        with pytest.raises(InvalidTelemetryError, match="must be a file that can be read"):
            kinds.FILE.read("X", str(missing))


@pytest.mark.parametrize(
    "url", ["http://", "ftp://h", "http://h:port", "http://h:0", "http://a b", "http://[", "h:4317"]
)
def test_an_endpoint_is_a_url(url: str) -> None:
    with pytest.raises(InvalidTelemetryError, match="must be a URL"):
        kinds.endpoint().read("X", url)


@pytest.mark.parametrize("url", ["ftp://u:s3cret@h", "http://h:port/?key=s3cret", "s3cret@h"])
def test_the_password_of_an_endpoint_is_never_repeated(url: str) -> None:
    with pytest.raises(InvalidTelemetryError, match="OTEL_X must be a URL") as raised:
        kinds.endpoint().read("OTEL_X", url)
    assert "s3cret" not in str(raised.value)


def test_only_http_has_users_in_its_endpoint() -> None:
    assert kinds.endpoint().read("X", "http://u:p@h:1/p?q") == "http://u:p@h:1/p?q"
    with pytest.raises(InvalidTelemetryError, match="without a user"):
        kinds.grpc_endpoint("http").read("X", "http://u:p@h:1")
    assert kinds.grpc_endpoint("https").read("X", "collector:4317") == "https://collector:4317"
    for value in ("-1", "ü→", "x" * 254, "a b", ""):
        with pytest.raises(InvalidTelemetryError):
            kinds.grpc_endpoint("http").read("X", value)
    assert kinds.grpc_endpoint("http").read("X", "[::1]:4317") == "http://[::1]:4317"
