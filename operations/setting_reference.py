"""Generates docs/settings.md, which lists every setting of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from riptide.settings.reference import reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from riptide.settings.reference import Entry

FILE: Final = "docs/settings.md"

INTRODUCTION: Final = """\
# Settings

All settings of the service. They are environment variables; `riptide serve --help` lists them too.
This page is generated from `app/riptide/settings/settings.py` (`make kit`); do not edit it.

- With a value that is not allowed, the service does not start, and prints in one line which values
  are. A variable that begins with `RIPTIDE_` but is no setting causes a warning.
- Times are numbers of seconds, sizes are numbers of bytes. The brackets after a default repeat it
  in larger units.
- The command line reads `RIPTIDE_URL` and `RIPTIDE_TOKEN` (`riptide tail --help`).
- The variables of OpenTelemetry say which telemetry is sent where: see
  [telemetry.md](telemetry.md)."""


def generate() -> dict[str, str]:
    """Return the page by the name of its file."""
    sections = (line for title, entries in reference().items() for line in _section(title, entries))
    return {FILE: "\n".join([INTRODUCTION, *sections]) + "\n"}


def _section(title: str, entries: list[Entry]) -> Iterator[str]:
    yield ""
    yield f"## {title}"
    yield ""
    yield "| variable | what it is | values | default |"
    yield "|---|---|---|---|"
    for entry in entries:
        yield f"| `{entry.variable}` | {entry.meaning} | {entry.allowed} | {_default(entry)} |"


def _default(entry: Entry) -> str:
    if not entry.default:
        return "none"
    return f"`{entry.default}`" + (f" ({entry.in_units})" if entry.in_units else "")
