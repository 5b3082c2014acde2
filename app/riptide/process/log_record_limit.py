"""A limit to what clients, or a collector that is gone, can make us write into the log."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW_S = 60.0
# Enough to see what is going on, of what may come by the thousand a second.
RECORDS = 20
# The SDK repeats itself while an export fails, which we have told by then.
LIBRARY, LIBRARY_RECORDS = "opentelemetry", 1
# Kinds are few, since texts are; this is against a library that formats its texts itself.
KINDS = 1000


class LogLimit(logging.Filter):
    """Lets through so many records of a kind in a minute; the next one says how many it held back.

    A kind is a text before its arguments are put in, with the event and the error that it tells of.
    What is for debugging passes: who asks for everything gets it. Several handlers may share one
    limit: a record is counted once.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self._window_ends = 0.0
        self._counts: dict[object, int] = {}
        self._held_back: dict[object, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Decide once for each record."""
        if record.levelno <= logging.DEBUG:
            return True
        passes = getattr(record, "passes", None)
        if passes is None:
            with self._lock:
                passes = record.passes = self._count(record)
        return bool(passes)

    def _count(self, record: logging.LogRecord) -> bool:
        now = self._clock()
        if now >= self._window_ends:
            self._window_ends = now + WINDOW_S
            self._held_back = {
                kind: held_back
                for kind, count in self._counts.items()
                if (held_back := count - _allowed(kind)) > 0
            }
            self._counts = {}
        kind = _kind(record)
        if kind not in self._counts and len(self._counts) >= KINDS:
            kind = (record.name, record.levelno)
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        if count > _allowed(kind):
            return False
        held_back = self._held_back.pop(kind, 0)
        if held_back:
            record.held_back = held_back
        return True


def _kind(record: logging.LogRecord) -> tuple[object, ...]:
    if record.name.startswith(LIBRARY):
        return (record.name, record.levelno)
    details = (getattr(record, name, None) for name in ("event", "stream.error", "stream.reason"))
    return (record.name, record.levelno, str(record.msg), *map(str, details))


def _allowed(kind: object) -> int:
    name = kind[0] if isinstance(kind, tuple) else ""
    return LIBRARY_RECORDS if str(name).startswith(LIBRARY) else RECORDS
