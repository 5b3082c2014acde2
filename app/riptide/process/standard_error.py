"""Writes to standard error, and never lets the process wait for whoever reads it.

A pipe whose reader has stopped blocks every write as soon as it is full, and with the write
everything that the thread does besides: streams, publishes, health checks and the shutdown. So
lines wait in a queue, and a thread of its own writes them. When the queue is full, lines are
dropped. They are counted, and a line in their place says how many they were.
"""

from __future__ import annotations

import atexit
import io
import itertools
import os
import select
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, TextIO, cast

from riptide.process import standard_streams

if TYPE_CHECKING:
    from collections.abc import Callable

# Lines that may wait: at level debug, those of a second in which 2,000 clients connect and leave.
MAX_LINES = 5_000
MAX_BYTES = 4 * 1024 * 1024
# Written at once: what a pipe holds.
WRITE_BYTES = 64 * 1024
# How long the end of the process waits for lines to be written.
FINISH_S = 1.0


class StandardError(io.TextIOBase):
    """A text stream that takes the place of ``sys.stderr``. No method waits for a reader.

    ``dropped`` counts the lines that nobody will get; a log record with its traceback is one. A
    line is bytes in the queue. A number stands where as many lines were dropped, and
    ``say_dropped`` makes the text that is written in its place.
    """

    def __init__(self, stream: TextIO, say_dropped: Callable[[int], str]) -> None:
        super().__init__()
        self.dropped = 0
        self._descriptor = stream.fileno()
        self._encoding = stream.encoding
        self._say_dropped = say_dropped
        # Reentrant, because the garbage collector may warn while its thread holds the lock.
        self._changed = threading.Condition(threading.RLock())
        self._queue: deque[bytes | int] = deque()
        self._queued_bytes = 0
        self._writing = False
        self._torn = False
        self._begun = threading.local()
        # A daemon, because the end of the process must not wait for a write that never ends.
        threading.Thread(target=self._run, name="riptide-stderr", daemon=True).start()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has an attribute
        """The encoding of the lines."""
        return self._encoding

    def fileno(self) -> int:
        """Return the file descriptor of standard error."""
        return self._descriptor

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Queue what is complete up to a line feed; the rest waits for this thread's next write."""
        begun = getattr(self._begun, "text", "") + text
        whole, line_feed, self._begun.text = begun.rpartition("\n")
        if line_feed:
            self._put(whole + line_feed)
        if len(self._begun.text) > WRITE_BYTES:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Queue what this thread has written of a line that is not complete."""
        begun, self._begun.text = getattr(self._begun, "text", ""), ""
        if begun:
            self._put(begun)

    def finish(self) -> None:
        """Wait until all lines are written, or for ``FINISH_S``."""
        self.flush()
        with self._changed:
            self._changed.wait_for(lambda: not (self._queue or self._writing), FINISH_S)

    def _put(self, text: str) -> None:
        line = text.encode(self._encoding, "backslashreplace")
        with self._changed:
            size = self._queued_bytes + len(line)
            if len(self._queue) < MAX_LINES and size <= MAX_BYTES:
                self._queue.append(line)
                self._queued_bytes = size
            else:
                self.dropped += 1
                last = self._queue.pop() if self._queue else 0
                if isinstance(last, bytes):
                    self._queue.append(last)
                    last = 0
                self._queue.append(last + 1)
            self._changed.notify_all()

    def _run(self) -> None:
        unsaid = 0
        while True:
            batch = self._take()
            if unsaid:
                batch.insert(0, unsaid)
            try:
                written = self._write(batch)
            except Exception:  # noqa: BLE001  # nobody could be told; the lines count as dropped
                written = 0
            lost = batch[written:]
            unsaid = sum(each if isinstance(each, int) else 1 for each in lost)
            with self._changed:
                self.dropped += sum(isinstance(each, bytes) for each in lost)
                self._writing = False
                self._changed.notify_all()

    def _take(self) -> list[bytes | int]:
        """Wait for lines, and return the oldest of them."""
        batch: list[bytes | int] = []
        size = 0
        with self._changed:
            self._changed.wait_for(lambda: self._queue)
            while self._queue and size < WRITE_BYTES:
                line = self._queue.popleft()
                size += len(line) if isinstance(line, bytes) else 0
                batch.append(line)
            self._queued_bytes -= size
            self._writing = True
        return batch

    def _write(self, batch: list[bytes | int]) -> int:
        """Write, and return how many lines are written whole."""
        lines = [each if isinstance(each, bytes) else self._notice(each) for each in batch]
        if self._torn:
            # A line that is torn must not run into the next one.
            lines[0] = b"\n" + lines[0]
        rest = memoryview(b"".join(lines))
        size = len(rest)
        try:
            while rest:
                rest = rest[self._write_some(rest) :]
        except OSError:
            # The reader has gone, or the disk is full. The next lines are tried again.
            pass
        written = size - len(rest)
        whole = [end for end in itertools.accumulate(map(len, lines)) if end <= written]
        if written:
            self._torn = written != (whole[-1] if whole else 0)
        return len(whole)

    def _write_some(self, data: memoryview) -> int:
        while True:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                # Somebody who shares this pipe wants no write to block, so that writes fail.
                room = select.poll()
                room.register(self._descriptor, select.POLLOUT)
                room.poll()

    def _notice(self, count: int) -> bytes:
        return f"{self._say_dropped(count)}\n".encode(self._encoding, "backslashreplace")


def never_wait(say_dropped: Callable[[int], str]) -> None:
    """From now on, let nothing that this process writes to standard error wait for its reader.

    gRPC writes to the descriptor itself, once for each TLS handshake that fails. It is told not to,
    unless ``GRPC_VERBOSITY`` is set, as the service reports exports that fail: with a thread of
    gRPC waiting in such a write, the process would never end.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    standard_streams.open_closed()
    stream = StandardError(sys.stderr, say_dropped)
    sys.stderr = cast("TextIO", stream)
    # Registered here, so that what other exits say is written as well: the last come first.
    atexit.register(stream.finish)


def dropped_lines() -> int:
    """Return how many lines this process has dropped."""
    return sys.stderr.dropped if isinstance(sys.stderr, StandardError) else 0
