"""The settings as people read them: in groups, with defaults in readable units."""

from __future__ import annotations

from typing import Any, NamedTuple

from riptide.settings.settings import DAY, GROUPS, KIBIBYTE, MEBIBYTE, PREFIX, Settings

MINUTE = 60
HOUR = 60 * MINUTE
# The largest first: a default is given in the first unit of which it is a multiple.
UNITS = {
    "seconds": {DAY: "day", HOUR: "hour", MINUTE: "minute"},
    "bytes": {MEBIBYTE: "MiB", KIBIBYTE: "KiB"},
}


class Entry(NamedTuple):
    """One setting; ``allowed`` says which values it may have.

    ``default`` is empty if there is none; ``in_units`` is the default in a larger unit, as in
    ``1 MiB``, if it is a multiple of one.
    """

    variable: str
    meaning: str
    allowed: str
    default: str
    in_units: str


def reference() -> dict[str, list[Entry]]:
    """Return all settings, by the title of their group."""
    starts = {first: title for title, first in GROUPS.items()}
    groups: dict[str, list[Entry]] = {}
    entries: list[Entry] = []
    for name, field in Settings.model_fields.items():
        if name in starts:
            entries = groups[starts[name]] = []
        entries.append(
            Entry(
                f"{PREFIX}{name}".upper(),
                field.title or "",
                field.description or "",
                _written(field.default),
                _in_units(name, field.default),
            )
        )
    return groups


def _written(default: Any) -> str:
    """Return the default as it would be set in the environment."""
    if default is None:
        return ""
    if isinstance(default, tuple):
        return ",".join(default)
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:.15g}" if isinstance(default, int | float) else str(default)


def _in_units(name: str, default: Any) -> str:
    for size, unit in UNITS.get(name.rpartition("_")[2], {}).items():
        if default >= size and default % size == 0:
            count = int(default // size)
            plural = "s" if count > 1 and unit.islower() else ""
            return f"{count} {unit}{plural}"
    return ""
