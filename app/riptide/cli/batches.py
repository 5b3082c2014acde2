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

_ASCII = bytes(set(range(128)) - {0x1B})  # without ESC, which no encoding has to itself


class Batch(NamedTuple):
    """Neighbouring lines, encoded; ``first`` is the number of the first one in the input."""

    first: int
    lines: list[bytes]
    input_bytes: int = 0

    @property
    def last(self) -> int:
        """The number of the last line."""
        return self.first + len(self.lines) - 1

    @property
    def body(self) -> bytes:
        """The lines as NDJSON."""
        return b"\n".join(self.lines)

    @property
    def blank(self) -> bool:
        """Whether there is no message in it: NDJSON may have blank lines."""
        return not any(line.strip() for line in self.lines)

    def split(self, count: int) -> tuple[Batch, Batch]:
        """Return the first ``count`` lines and the others."""
        return Batch(self.first, self.lines[:count]), Batch(self.first + count, self.lines[count:])


def line_encoder(encoding: str, *, as_text: bool) -> Callable[[bytes], bytes]:
    """Return what makes a JSON value, in UTF-8, of a line: its text, or the value that it is.

    Raises:
        CommandError: lines cannot be told apart in this encoding, or there is no such encoding.

    """
    import orjson  # noqa: PLC0415  # --help does not need it

    try:
        name = codecs.lookup(encoding).name
        keeps_ascii = _ASCII.decode(encoding, "replace") == _ASCII.decode("ascii")
    except LookupError:
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
        return bytes  # of bytes, that is the same object
    return lambda line: line.decode(encoding).encode()


class Batcher:
    """Collects lines until there are enough for a request."""

    def __init__(self, encode: Callable[[bytes], bytes], *, encoding: str, skip: int = 0) -> None:
        self.max_bytes = BATCH_BYTES
        self._encode = encode
        self._encoding = encoding
        self._skip = skip
        self._splitter = LineSplitter()
        self._number = 0
        self._lines: list[bytes] = []
        self._size = 0
        self._input_bytes = 0

    @property
    def pending(self) -> bool:
        """Whether a line waits for others to join it."""
        return bool(self._lines)

    def feed(self, chunk: bytes) -> Iterator[Batch]:
        """Yield the batches that this piece of input fills.

        Raises:
            BadLineError: a line cannot be published; all lines before it have been yielded.

        """
        self._input_bytes += len(chunk)
        try:
            lines = self._splitter.feed(chunk)
        except ValueError as error:
            yield from self.flush()
            raise BadLineError(self._number + 1, str(error)) from None
        yield from self._collect(lines)

    def finish(self) -> Iterator[Batch]:
        """Yield what is left at the end of the input."""
        yield from self._collect(self._splitter.finish())
        yield from self.flush()

    def flush(self) -> Iterator[Batch]:
        """Yield what has been collected, if anything."""
        if self._lines:
            batch = Batch(self._number - len(self._lines) + 1, self._lines, self._input_bytes)
            self._lines, self._size, self._input_bytes = [], 0, 0
            yield batch

    def _collect(self, lines: list[bytes]) -> Iterator[Batch]:
        if self._number < self._skip:
            skipped = min(self._skip - self._number, len(lines))
            self._number += skipped
            lines = lines[skipped:]
        encode = self._encode
        for line in lines:
            try:
                encoded = encode(line)
            except UnicodeDecodeError as error:
                yield from self.flush()
                raise BadLineError(self._number + 1, self._undecodable(error)) from None
            size = len(encoded) + 1
            if self._size + size > self.max_bytes or len(self._lines) >= BATCH_LINES:
                yield from self.flush()
            self._lines.append(encoded)
            self._size += size
            self._number += 1

    def _undecodable(self, error: UnicodeDecodeError) -> str:
        byte = error.object[error.start]
        return (
            f"is not {self._encoding} (byte 0x{byte:02x} at its position {error.start + 1}): "
            "name the input's encoding, as with --encoding latin-1"
        )
