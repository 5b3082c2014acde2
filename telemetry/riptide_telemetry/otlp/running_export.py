"""Which threads are in the middle of an export, and what was logged meanwhile."""

from __future__ import annotations

import threading

_exporting = threading.local()


def is_exporting() -> bool:
    """Return whether this thread is in the middle of an export."""
    return bool(getattr(_exporting, "now", False))


def begin_export() -> list[str]:
    """Return a new list, to which ``note`` adds until ``end_export``."""
    _exporting.now, _exporting.logged = True, []
    logged: list[str] = _exporting.logged
    return logged


def note(message: str) -> None:
    """Keep what was logged during this thread's export."""
    _exporting.logged.append(message)


def end_export() -> None:
    """Let records of this thread pass again."""
    _exporting.now = False
