"""Limits how many log records clients, or a Collector that is gone, can cause."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW_S = 60.0
# Records of a kind that pass in a window: enough to see what happens, of thousands a second.
RECORDS = 20
# OpenTelemetry's SDK repeats its records while an export fails, which the service logs as well.
LIBRARY, LIBRARY_RECORDS = "opentelemetry", 1
# Kinds are few, because texts are constants. This bounds a library that formats its texts itself.
KINDS = 1000


class LogLimit(logging.Filter):
    """Lets ``RECORDS`` records of a kind pass in ``WINDOW_S``, and holds the others back.

    The first record of the kind in the next window says how many were held back. Records of one
    kind have the same logger, level, text without its arguments, event, error and reason. Debug
    records always pass, because whoever turns them on wants all of them. Several handlers may
    share one limit: a record is counted once.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self._window_ends = 0.0
        self._counts: dict[object, int] = {}
        self._held_back: dict[object, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record passes, which is decided once."""
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
