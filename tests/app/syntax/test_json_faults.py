from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riptide.errors import InvalidMessageError
from riptide.syntax.json_faults import explain

UNREADABLE = "not valid JSON"


def fault(text: bytes) -> str:
    """Return what the publisher of a text is told."""
    with pytest.raises(orjson.JSONDecodeError) as caught:
        orjson.loads(text)
    return explain(text, caught.value).detail


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1E+400", "1.5e309", "9" * 400])
@pytest.mark.parametrize("frame", ["{}", '{{"é": [0, {}]}}', "[{} ]"])
def test_a_number_that_is_too_large_is_named_and_not_called_invalid(
    number: str, frame: str
) -> None:
    said = fault(frame.format(number).encode())
    assert said.startswith(f"the number {number[:32]}")
    assert "1.8e308" in said
    assert "string" in said
    assert UNREADABLE not in said
    assert len(said) < 200


@pytest.mark.parametrize("word", ["NaN", "nan", "Infinity", "-Infinity", "-inf", "+NaN"])
@pytest.mark.parametrize("frame", ["{}", '{{"a": {}}}', '["é", 1, {}]'])
def test_what_is_no_number_in_json_is_named(word: str, frame: str) -> None:
    said = fault(frame.format(word).encode())
    assert f"there is no number {word}" in said
    assert "null" in said


@pytest.mark.parametrize(
    "half", [rb"\ud800", rb"\udc00", rb"\ud83cx", rb"\ud83c\ud83c", rb"\uDFFF"]
)
def test_half_of_a_surrogate_pair_is_not_called_invalid(half: bytes) -> None:
    said = fault(b'{"a": "b' + half + b'"}')
    assert "half of a surrogate pair" in said
    assert UNREADABLE not in said


@pytest.mark.parametrize(("opens", "closes"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_what_is_nested_too_deep_is_not_called_invalid(opens: bytes, closes: bytes) -> None:
    orjson.loads(opens * 1024 + b"1" + closes * 1024)
    said = fault(opens * 1025 + b"1" + closes * 1025)
    assert "more than 1024 deep" in said
    assert UNREADABLE not in said
    assert UNREADABLE in fault(opens * 1025)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("value", ['{"a": "é"}', "[1, 2]", "12"])
def test_another_encoding_of_unicode_is_named(encoding: str, value: str) -> None:
    said = fault(value.encode(encoding))
    assert f"it is in {encoding[:6].upper()}" in said
    assert "UTF-8" in said


@pytest.mark.parametrize(
    ("text", "wrong", "remedy"),
    [
        (b"", "empty", "send one JSON value"),
        (b" \r\n\t", "empty", "send one JSON value"),
        ("\ufeff[1]".encode(), "byte order mark", "leave the mark out"),
        (b'"caf\xe9"', "byte 0xe9 at position 5 is not UTF-8", "encode it as UTF-8"),
        (b'"\xed\xa0\x80"', "byte 0xed at position 2 is not UTF-8", "encode it as UTF-8"),
        (b'{"a": 1}\n{"a": 2}', "more follows the value: line 2 column 1", "x-ndjson"),
        (b"[1,]", "trailing comma", "send one JSON value"),
        (b"{'a': 1}", "line 1 column 2", "send one JSON value"),
    ],
)
def test_what_is_not_json_is_told_why_and_what_to_do(text: bytes, wrong: str, remedy: str) -> None:
    said = fault(text)
    assert said.startswith(UNREADABLE)
    assert wrong in said
    assert remedy in said


@given(st.binary(max_size=40) | st.text('[]{}",:e19.-\\udNaIf\ufeff', max_size=40).map(str.encode))
def test_every_text_that_is_refused_is_explained_in_one_line(text: bytes) -> None:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        problem = explain(text, error)
        assert isinstance(problem, InvalidMessageError)
        assert problem.detail.isprintable()
