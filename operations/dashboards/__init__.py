"""The Grafana dashboards, one module each."""

from __future__ import annotations

from operations.dashboards import streaming

BOARDS = (streaming,)


def generate() -> dict[str, str]:
    """Return the files of all dashboards."""
    return {name: text for module in BOARDS for name, text in module.generate().items()}
