"""What Grafana does with the queries of a dashboard before Prometheus sees them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
DASHBOARDS = sorted((ROOT / "dashboards").glob("*.json"))
VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


class Target(NamedTuple):
    """A query of a panel."""

    board: str
    panel: str
    ref: str
    expression: str
    instant: bool

    def __str__(self) -> str:
        return f"{self.board}/{self.panel}/{self.ref}"


def load(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return document


def targets(name: str = "*") -> list[Target]:
    """Return the queries of a dashboard, or of all."""
    return [
        Target(file.stem, panel["title"], target["refId"], target["expr"], target["instant"])
        for file in DASHBOARDS
        if name in {"*", file.stem}
        for panel in load(file)["panels"]
        for target in panel.get("targets", [])
    ]


def interpolate(expression: str, values: Mapping[str, str]) -> str:
    """Put values in the place of variables.

    Raises:
        KeyError: there is a variable without one.

    """
    return VARIABLE.sub(lambda match: values[match[1] or match[2]], expression)
