"""Lines of input as batches of messages, each the body of one request."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, NamedTuple

from riptide.cli.errors import BadLineError, CommandError
from riptide.cli.lines import LineSplitter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BATCH_BYTES = 1024 * 1024
BATCH_LINES = 10_000

# Without ESC (0x1B), with which stateful encodings like ISO-2022-JP switch character sets.
_ASCII = bytes(set(range(128)) - {0x1B})


_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class LineBatch(NamedTuple):
    """Consecutive lines of the input, each encoded as JSON.

    Lines are numbered from 1 at the start of the input. ``input_bytes`` is the size of the input
    that was read since the batch before.
    """

    first_line: int
    lines: list[bytes]
    input_bytes: int = 0

    @property
    def last_line(self) -> int:
        """The number of the last line."""
        return self.first_line + len(self.lines) - 1

    @property
    def body(self) -> bytes:
        """The lines as NDJSON."""
        return b"\n".join(self.lines)

    @property
    def blank(self) -> bool:
        """Whether the batch has no message: NDJSON may have blank lines."""
        return not any(line.strip() for line in self.lines)

    def split(self, count: int) -> tuple[LineBatch, LineBatch]:
        """Return the first ``count`` lines and the others."""
        return (
            LineBatch(self.first_line, self.lines[:count]),
            LineBatch(self.first_line + count, self.lines[count:]),
        )


def line_encoder(encoding: str, *, as_text: bool) -> Callable[[bytes], bytes]:
    """Return a function that turns a line into JSON in UTF-8.

    The JSON is a string of the line's text (``as_text``), or the value that the line already is.

    Raises:
        CommandError: there is no such encoding, or it does not keep the bytes of ASCII, so that
            line feeds cannot be found.

    """
    import orjson  # noqa: PLC0415  # --help does not need it

    try:
        name = codecs.lookup(encoding).name
        keeps_ascii = _ASCII.decode(encoding, "replace") == _ASCII.decode("ascii")
    except (LookupError, UnicodeError):
        raise CommandError(f"there is no encoding {encoding!r}: try utf-8 or latin-1") from None
    if not keeps_ascii:
        raise CommandError(
            f"lines cannot be told apart in {encoding}: convert the input first, "
            f"as with iconv -f {encoding} -t utf-8"
        )
    if as_text:
        dumps = orjson.dumps
        return lambda line: dumps(line.decode(encoding))
    if name == "utf-8":
        return bytes  # bytes(line) is the line itself, not a copy
    return lambda line: line.decode(encoding).encode()


class Batcher:
    """Collects lines until there are enough for a request."""

    def __init__(
        self,
        encode: Callable[[bytes], bytes],
        *,
        encoding: str,
        skip: int = 0,
        crlf: bool = False,
    ) -> None:
        self.max_bytes = BATCH_BYTES
        self._crlf = crlf
        self._is_utf_8 = codecs.lookup(encoding).name == "utf-8"
        self._encode = encode
        self._encoding = encoding
        self._skip = skip
        self._splitter = LineSplitter()
        self._line_number = 0
        self._lines: list[bytes] = []
        self._size = 0
        self._input_bytes = 0

    @property
    def pending(self) -> bool:
        """Whether lines wait for others to fill their batch."""
        return bool(self._lines)

    def feed(self, chunk: bytes) -> Iterator[LineBatch]:
        """Yield the batches that this chunk of input fills.

        Raises:
            BadLineError: a line cannot be published; all lines before it have been yielded.

        """
        self._input_bytes += len(chunk)
        try:
            lines = self._splitter.feed(chunk)
        except ValueError as error:
            yield from self.flush()
            raise BadLineError(self._line_number + 1, str(error)) from None
        yield from self._collect(lines)

    def finish(self) -> Iterator[LineBatch]:
        """Yield the lines that are left at the end of the input."""
        rest = self._splitter.finish()
        if not (self._may_be_marked() and rest == [codecs.BOM_UTF8]):
            yield from self._collect(rest)
        yield from self.flush()

    def flush(self) -> Iterator[LineBatch]:
        """Yield the lines collected so far, if there are any."""
        if self._lines:
            first_line = self._line_number - len(self._lines) + 1
            batch = LineBatch(first_line, self._lines, self._input_bytes)
            self._lines, self._size, self._input_bytes = [], 0, 0
            yield batch

    def _collect(self, lines: list[bytes]) -> Iterator[LineBatch]:
        if lines and self._may_be_marked():
            lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
        if self._crlf:
            lines = [line.removesuffix(b"\r") for line in lines]
        if self._line_number < self._skip:
            skipped = min(self._skip - self._line_number, len(lines))
            self._line_number += skipped
            lines = lines[skipped:]
        encode = self._encode
        for line in lines:
            try:
                encoded = encode(line)
            except UnicodeDecodeError as error:
                yield from self.flush()
                raise BadLineError(self._line_number + 1, self._undecodable(error)) from None
            size = len(encoded) + 1
            if self._size + size > self.max_bytes or len(self._lines) >= BATCH_LINES:
                yield from self.flush()
            self._lines.append(encoded)
            self._size += size
            self._line_number += 1

    def _may_be_marked(self) -> bool:
        """Return whether the next line may begin with the mark that Windows puts before UTF-8."""
        return self._is_utf_8 and self._line_number == 0

    def _undecodable(self, error: UnicodeDecodeError) -> str:
        byte = error.object[error.start]
        if self._line_number == 0 and error.object.startswith(_UTF_16_MARKS):
            return "is UTF-16: convert the input first, as with iconv -f utf-16 -t utf-8"
        return (
            f"is not {self._encoding} (byte 0x{byte:02x} at its position {error.start + 1}): "
            "name the input's encoding, as with --encoding latin-1"
        )
