from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riptide.cli import lines
from riptide.cli.errors import CommandError
from riptide.cli.lines import END, BackgroundReader, LineSplitter

pieces = st.lists(
    st.binary(max_size=8) | st.sampled_from([b"\n", b"\r\n", b"\xe2\x80\xa8", b"\n\n"])
)


@given(pieces)
def test_lines_are_the_same_however_the_input_is_cut(chunks: list[bytes]) -> None:
    splitter = LineSplitter()
    found = [line for chunk in chunks for line in splitter.feed(chunk)] + splitter.finish()
    expected = b"".join(chunks).split(b"\n")
    assert found == (expected if expected[-1] else expected[:-1])


def test_a_line_without_end_is_not_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", 10)
    splitter = LineSplitter()
    assert splitter.feed(b"123456789\n1234567890") == [b"123456789"]
    with pytest.raises(ValueError, match="longer than 10 bytes"):
        splitter.feed(b"1")


def test_the_reader_returns_everything_and_then_the_end() -> None:
    text = bytes(range(256)) * 5000
    reader = BackgroundReader(io.BytesIO(text))
    read = b""
    while (chunk := reader.read(None)) != END:
        assert chunk
        read += chunk
    assert read == text


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(5, "Input/output error"), "Input/output error"),
        (ValueError("read of closed file"), "read of closed file"),
    ],
)
def test_a_failing_read_is_an_error_of_the_command(error: Exception, reason: str) -> None:
    class Broken:
        def read(self, _size: int, /) -> bytes:
            raise error

    with pytest.raises(CommandError, match=f"^cannot read the input: {reason}$"):
        BackgroundReader(Broken()).read(None)
