"""Results as a table for people and as records for machines."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import orjson

from benchmarks import machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.figures import Figure, Result


class Moment(NamedTuple):
    """When a benchmark began, and how busy the machine was then."""

    date: str
    load_average: tuple[float, float, float]

    @classmethod
    def now(cls) -> Moment:
        """Note the time and the load."""
        return cls(datetime.now(UTC).isoformat(timespec="seconds"), os.getloadavg())


def record(name: str, result: Result, begun: Moment, *, quick: bool) -> dict[str, object]:
    """Return everything known of a run; to be called at its end."""
    return {
        "benchmark": name,
        "command": command(name, quick=quick),
        "date": begun.date,
        "quick": quick,
        "machine": machine.facts(),
        "versions": machine.versions(),
        "load_average": {"before": begun.load_average, "after": os.getloadavg()},
        "parameters": dict(result.parameters),
        "left_out": dict(result.left_out),
        "figures": [figure.record() for figure in result.figures],
    }


def command(name: str, *, quick: bool) -> str:
    """Return what to type to get these figures again."""
    python = os.path.relpath(sys.executable)
    return f"{python} -m benchmarks {name}{' --quick' if quick else ''}"


def json_line(entry: dict[str, object]) -> bytes:
    """Return a record as a line of JSON."""
    return orjson.dumps(entry) + b"\n"


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as Markdown: a row for each, or a cell for those with a row and column."""
    listed = [figure for figure in figures if not figure.row]
    parts = [_list(listed)] if listed else []
    if len(listed) < len(figures):
        parts.append(_grid([figure for figure in figures if figure.row]))
    return "\n\n".join(parts)


def _grid(figures: Sequence[Figure]) -> str:
    """Return a table of medians."""
    units = {figure.column: figure.unit for figure in figures}
    rows = dict.fromkeys(figure.row for figure in figures)
    cells = {(figure.row, figure.column): number(figure.median) for figure in figures}
    heads = [f"{column}, {unit}" if unit else column for column, unit in units.items()]
    lines = [f"| median | {' | '.join(heads)} |", "|---" * (len(units) + 1) + "|"]
    lines += [
        f"| {row} | {' | '.join(cells.get((row, column), '') for column in units)} |"
        for row in rows
    ]
    return "\n".join(lines)


def _list(figures: Sequence[Figure]) -> str:
    lines = ["| figure | median | lowest to highest | bar |", "|---|---|---|---|"]
    for figure in figures:
        spread = f"{number(min(figure.samples))} to {number(max(figure.samples))}"
        median = f"{number(figure.median)} {figure.unit}".strip()
        lines.append(f"| {figure.name} | {median} | {spread} | {_verdict(figure)} |")
    return "\n".join(lines)


def number(value: float) -> str:
    """Return a number with three significant digits, or its whole part if that has more."""
    if abs(value) >= 100:  # noqa: PLR2004  # three digits before the point
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")


def _verdict(figure: Figure) -> str:
    return "" if figure.bar is None else f"{figure.bar}: {figure.verdict}"
