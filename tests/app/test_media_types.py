from __future__ import annotations

import pytest

from riptide.media_types import MAX_CHARACTERS, best_match, essence

SUPPORTED = ["text/event-stream", "application/x-ndjson"]


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", "application/json"),
        ("Application/JSON; charset=utf-8", "application/json"),
        ("", ""),
        ("json", ""),
        (";", ""),
    ],
)
def test_the_essence_of_a_type_is_without_case_and_parameters(
    content_type: str, expected: str
) -> None:
    assert essence(content_type) == expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/*", "text/event-stream"),
        ("*/*", "application/x-ndjson"),
        ("Text/Event-Stream, */*;q=0.1", "text/event-stream"),
        ("text/html", ""),
        ("nonsense", ""),
        (", ;", ""),
        ("text/event-stream, foo", "text/event-stream"),
        ("foo, text/event-stream", "text/event-stream"),
        ("text/, a/b/c, ;q=1, \t, text/event-stream;q=0.1", "text/event-stream"),
        ('text/html;a="b,*/*", text/event-stream', "text/event-stream"),
        ('text/html;a="b,application/x-ndjson,c"', ""),
        ('text/html;a=", text/event-stream', "text/event-stream"),
        ("foo/*, text/event-stream;q=0, application/*;q=0.1", "application/x-ndjson"),
        ("*", "application/x-ndjson"),
    ],
)
def test_the_client_gets_what_it_likes_best(accept: str, expected: str) -> None:
    assert best_match(SUPPORTED, accept) == expected


@pytest.mark.parametrize("padding", [";", "a=b;", '";'])
def test_what_is_too_long_is_not_read_at_all(padding: str) -> None:
    long = "text/event-stream;" + padding * MAX_CHARACTERS
    assert (essence(long[:MAX_CHARACTERS]), essence(long)) == ("text/event-stream", "")
    many = "text/event-stream," + "text/html," * MAX_CHARACTERS
    assert best_match(SUPPORTED, many[: MAX_CHARACTERS // 10 * 10 - 2]) == "text/event-stream"
    assert best_match(SUPPORTED, many + "text/html") == ""
