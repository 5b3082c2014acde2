"""Input as lines: read by a thread, split at line feeds only."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from riptide.cli.errors import CommandError

if TYPE_CHECKING:
    from typing import Protocol

    class Readable(Protocol):
        """An unbuffered binary stream."""

        def read(self, size: int, /) -> bytes | None:
            """Return the bytes that have come, up to ``size``; none only at the end."""


CHUNK = 256 * 1024
# At most this many chunks (2 MiB) are read ahead of publishing, however large the input is.
CHUNKS_AHEAD = 8
# Far above the largest message that a service accepts by default (1 MiB). The limit only keeps
# a file without line feeds from filling the memory.
LONGEST_LINE = 64 * 1024 * 1024

END = b""


class BackgroundReader:
    """Reads a stream in a thread, so that its owner can wait for input with a timeout."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._chunks: queue.Queue[bytes | Exception] = queue.Queue(CHUNKS_AHEAD)
        # A daemon, because an interrupted command must not wait for input that may never come.
        threading.Thread(target=self._run, name="riptide-input", daemon=True).start()

    def _run(self) -> None:
        chunk: bytes | None = None
        while chunk != END:
            try:
                chunk = self._stream.read(CHUNK) or END
            except Exception as error:  # noqa: BLE001  # the command waits for whatever it is
                self._chunks.put(error)
                return
            self._chunks.put(chunk)

    def read(self, timeout: float | None) -> bytes | None:
        """Return the next chunk, ``END`` at the end, or None after ``timeout`` seconds without.

        Raises:
            CommandError: the input cannot be read.

        """
        try:
            chunk = self._chunks.get(timeout=timeout)
        except queue.Empty:
            return None
        if isinstance(chunk, Exception):
            raise CommandError(
                f"cannot read the input: {getattr(chunk, 'strerror', None) or chunk}"
            )
        return chunk


class LineSplitter:
    """Turns chunks of input into lines, without their line feeds.

    Other characters that may count as line breaks (CR, NEL, U+2028, ...) stay in their line.
    """

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._rest_size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that this chunk completes.

        Raises:
            ValueError: a line is too long to be held in memory.

        """
        head, line_feed, tail = chunk.rpartition(b"\n")
        lines: list[bytes] = []
        if line_feed:
            lines = (b"".join(self._rest) + head).split(b"\n")
            self._rest.clear()
            self._rest_size = 0
        if tail:
            self._rest.append(tail)
            self._rest_size += len(tail)
            if self._rest_size > LONGEST_LINE:
                raise ValueError(f"is longer than {LONGEST_LINE} bytes: break it up")
        return lines

    def finish(self) -> list[bytes]:
        """Return the last line if it has no line feed."""
        return [b"".join(self._rest)] if self._rest else []
