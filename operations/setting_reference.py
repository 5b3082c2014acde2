"""docs/settings.md: every setting of the service, from where it is defined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from riptide.settings.reference import reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from riptide.settings.reference import Entry

FILE: Final = "docs/settings.md"

INTRODUCTION: Final = """\
# Settings

All settings of the service, which are environment variables. `riptide serve --help` says the same.
This page is generated from `app/riptide/settings/settings.py` (`make kit`); do not edit it.

- A value that is not allowed ends the start with a line that says what is. A variable that begins
  with `RIPTIDE_` and means nothing is pointed out.
- Times are numbers of seconds, sizes numbers of bytes; what stands in brackets after a default is
  the same in larger units.
- The command line reads `RIPTIDE_URL` and `RIPTIDE_TOKEN` (`riptide tail --help`).
- What telemetry is sent where is said by the variables of OpenTelemetry: see
  [telemetry.md](telemetry.md)."""


def generate() -> dict[str, str]:
    """Return the reference."""
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
